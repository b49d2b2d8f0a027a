"""The artifact that is quantized: opened, checked, and ready to be asked what it answers in fp32.

What quantizing costs is left to `agreement`, changing the graph to the quantizers.
"""

import dataclasses
from pathlib import Path

import numpy as np
import onnx

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.registry import RUNTIMES
from benchkit.quantize.graphs import check_quantizable, name_nodes
from benchkit.runtimes.protocol import Array, Feed, Session, SessionOptions
from benchkit.tasks.tokenization import TextTokenizer, load_tokenizer

# A foreign graph does not say; whether it holds quantized operators is looked up in the graph itself.
_WIDE = ("fp32", "fp32-fused", "unknown")
_DTYPES = {
    onnx.TensorProto.INT64: np.int64,
    onnx.TensorProto.INT32: np.int32,
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.BOOL: np.bool_,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An fp32 ONNX artifact.

    Attributes:
        artifact: Where it lies, and what it says of itself.
        model: Its graph, with every node named; quantizers change copies of it.
        session: The same, open in onnxruntime.
        tokenizer: Beside it; None where there is none.
    """

    artifact: Artifact
    model: onnx.ModelProto
    session: Session
    tokenizer: TextTokenizer | None

    @property
    def gives_logits(self) -> bool:
        """Whether the compared output is logits, and no hidden state or embedding."""
        return any(output.name == "logits" for output in self.model.graph.output)

    def bound(self, feed: Feed) -> dict[str, Array]:
        """Return a batch with the inputs that the graph takes, in its types, for those who run it by themselves."""
        return {
            value.name: np.ascontiguousarray(feed[value.name], dtype=_DTYPES[value.type.tensor_type.elem_type])
            for value in self.model.graph.input
            if value.name in feed
        }


def read_source(artifact: Artifact) -> Source:
    """Open the artifact that is to be quantized.

    Raises:
        BenchkitError: A checkpoint, quantized already, damaged, or without a tokenizer that fits its model.
    """
    if artifact.manifest.kind != "onnx":
        raise BenchkitError(
            f"'{artifact.path}' is a checkpoint, and only ONNX artifacts are quantized",
            remedy=f"export it first: benchkit export '{artifact.path}' -o DIR",
        )
    if artifact.manifest.precision not in _WIDE:
        raise BenchkitError(
            f"'{artifact.path}' is quantized already: {artifact.manifest.precision}",
            remedy="quantize the fp32 artifact it was made from",
        )
    session = open_graph(artifact.model_file)  # Before onnx reads the file: a runtime explains a damaged one better.
    model = onnx.load(artifact.model_file)
    check_quantizable(model, str(artifact.path))
    name_nodes(model)
    return Source(artifact=artifact, model=model, session=session, tokenizer=_tokenizer(artifact.folder))


def open_graph(path: Path) -> Session:
    """Open a graph in onnxruntime, at one thread, so that its answers repeat."""
    session: Session = RUNTIMES.get("onnxruntime")().open(path, SessionOptions())
    return session


def _tokenizer(folder: Path | None) -> TextTokenizer | None:
    present = folder is not None and any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt"))
    return load_tokenizer(folder) if folder is not None and present else None
