"""Smaller number formats for ONNX artifacts. Export is left to `export`, judging the score to `judge`."""
