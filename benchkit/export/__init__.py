"""Checkpoint to ONNX with parity, and presets. Quantization is left to `quantize`, measuring to `bench`."""
