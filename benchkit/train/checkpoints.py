"""Read an encoder out of a checkpoint folder, and write one in the form every other room reads.

Where folders come from is left to `encoders`, tokenizers to `tokenizer_files`.
"""

import dataclasses
import json
import os
import pickle
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import transformers

from benchkit.core.artifacts import check_safetensors
from benchkit.core.errors import BenchkitError
from benchkit.core.json_files import read_json
from benchkit.core.manifest import WEIGHTS_FILE
from benchkit.train.quiet import quiet_libraries

INDEX_FILE = "model.safetensors.index.json"
PICKLE_FILE = "pytorch_model.bin"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadedEncoder:
    """An encoder in memory.

    Attributes:
        model: The bare encoder in fp32 and evaluation mode; without its pooler when the file has none.
        left_out: Names of tensors of the file that are no part of the encoder (heads), sorted.
    """

    model: Any
    left_out: tuple[str, ...]


def load_encoder(folder: Path, *, allow_pickle: bool = False, attention: str = "eager") -> LoadedEncoder:
    """Load the encoder of a checkpoint folder; a classification or language-model head is left out.

    Args:
        folder: Holds config.json and model.safetensors (or its shards).
        allow_pickle: Read pytorch_model.bin (weights_only) when there is nothing else.
        attention: Attention implementation; "eager" trains fastest on CPUs, see DESIGN.md.

    Raises:
        BenchkitError: No weights, pickled weights that were not asked for, a truncated file, an unknown
            architecture, or weights that do not fill the architecture.
    """
    files = _weight_files(folder)
    if files:
        for file in files:
            check_safetensors(file)
        return _load(folder, attention)
    if not (folder / PICKLE_FILE).is_file():
        raise BenchkitError(
            f"'{folder}' holds no {WEIGHTS_FILE}", remedy="give a folder with config.json and model.safetensors"
        )
    if not allow_pickle:
        raise BenchkitError(
            f"'{folder}' holds pickled weights only ({PICKLE_FILE}), and unpickling can run code",
            remedy="set allow_pickle = true to read them with weights_only, or convert them to safetensors",
        )
    with tempfile.TemporaryDirectory() as name:
        converted = Path(name)
        shutil.copy(folder / "config.json", converted)
        safetensors.torch.save_file(_unpickled(folder / PICKLE_FILE), converted / WEIGHTS_FILE, {"format": "pt"})
        return _load(converted, attention)


def save_encoder(model: Any, folder: Path) -> None:
    """Write config.json and model.safetensors; head settings of an earlier use are dropped."""
    config = model.config
    config.num_labels, config.problem_type = 2, None
    save_model(model, folder)


def save_model(model: Any, folder: Path) -> None:
    """Write config.json and model.safetensors, and nothing else that depends on where the model came from."""
    model.config._name_or_path = ""
    try:
        with quiet_libraries():
            model.save_pretrained(folder)
    except safetensors.SafetensorError as error:
        # It keeps the system's error in its text only; a full disk has to be told as one.
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(folder)) from error


def read_config(folder: Path) -> transformers.PretrainedConfig:
    """Read config.json into its class.

    Raises:
        BenchkitError: Missing, broken, or of an architecture that transformers does not know.
    """
    values = read_json(folder / "config.json")
    if "type_vocab_size" in values:
        # Google's own BERT files and some TinyBERTs name no model_type; that they are BERT's is proved by the
        # weights, which must fill the architecture.
        values = {"model_type": "bert"} | values
    try:
        return transformers.AutoConfig.for_model(**values)
    except (TypeError, ValueError, KeyError) as error:
        what = f"model_type '{values['model_type']}'" if "model_type" in values else "no model_type"
        raise BenchkitError(
            f"'{folder / 'config.json'}' has {what}: {str(error).splitlines()[0]}",
            remedy="give a checkpoint of an encoder that transformers knows, such as model_type 'bert'",
        ) from error


def _load(folder: Path, attention: str) -> LoadedEncoder:
    config = read_config(folder)
    try:
        with quiet_libraries():
            model, report = transformers.AutoModel.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation=attention,
                output_loading_info=True,
            )
    except (safetensors.SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise BenchkitError(
            f"cannot load '{folder}': {str(error).splitlines()[0]}",
            remedy="check that config.json belongs to the weights, or get the checkpoint again",
        ) from error
    missing = sorted(report["missing_keys"])
    if any(name.startswith("pooler.") for name in missing):
        # The pooler that from_pretrained made up is random; a classifier brings its own, and says so.
        model.pooler = None
    absent = [name for name in missing if not name.startswith("pooler.")]
    if absent:
        raise BenchkitError(
            f"the weights in '{folder}' lack {len(absent)} tensors of the architecture, such as '{absent[0]}'",
            remedy="check that config.json belongs to the weights, or get the checkpoint again",
        )
    return LoadedEncoder(model=model.eval(), left_out=tuple(sorted(report["unexpected_keys"])))


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not (folder / INDEX_FILE).is_file():
        return []
    names = sorted(set(read_json(folder / INDEX_FILE).get("weight_map", {}).values()))
    absent = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if absent or not names:
        raise BenchkitError(
            f"'{folder / INDEX_FILE}' names weight files that are not beside it: {', '.join(map(str, absent))}",
            remedy="get the checkpoint again",
        )
    return [folder / name for name in names]


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BenchkitError(
            f"cannot read '{path}' with weights_only: {str(error).splitlines()[0] if str(error) else 'truncated'}",
            remedy="get the checkpoint again, or one with model.safetensors",
        ) from error
    # Copies, since safetensors refuses tensors that share memory, as tied embeddings do.
    return {name: tensor.clone().contiguous() for name, tensor in weights.items() if isinstance(tensor, torch.Tensor)}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file as the Hugging Face files are written: indented, keys sorted."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
