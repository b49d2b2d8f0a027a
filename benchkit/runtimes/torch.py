"""Checkpoint folders in torch, eager and fp32: for the baseline runtime, for export and for merging.

Nothing is fetched from a hub and no code of a checkpoint is run. Running them is left to `torch_session`.
"""

import contextlib
import dataclasses
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors
import torch
import transformers

from benchkit.core.architectures import ROBERTA_LIKE, position_limit
from benchkit.core.artifacts import check_safetensors
from benchkit.core.errors import BenchkitError
from benchkit.core.json_files import read_json

_IDS = ("input_ids", "attention_mask")
# Inputs by `model_type`. RoBERTa has segment embeddings, but a single row of them, and its tokenizer gives none.
INPUTS_BY_FAMILY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bert": (*_IDS, "token_type_ids"),
        "distilbert": _IDS,
        "electra": (*_IDS, "token_type_ids"),
        **dict.fromkeys(ROBERTA_LIKE, _IDS),
    }
)
_CLASSIFIER = "ForSequenceClassification"
# Heads of pre-training are dropped: what is left is the encoder, as `AutoModel` reads it.
_HEADLESS = ("Model", "ForMaskedLM", "ForPreTraining")
_REMEDY_WEIGHTS = "restore or make the checkpoint again: config.json and weights must be of one model"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCheckpoint:
    """A checkpoint in memory, in fp32 and evaluation mode.

    Attributes:
        model: The transformers model.
        architecture: Its class name, such as BertForSequenceClassification.
        input_names: What it takes, in the order of an exported graph.
        output_name: "logits", or "last_hidden_state" of an encoder without head.
        max_positions: Longest input in tokens.
        warnings: What a user should know about the loading.
    """

    model: Any
    architecture: str
    input_names: tuple[str, ...]
    output_name: str
    max_positions: int
    warnings: tuple[str, ...] = ()

    def __call__(self, feed: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Run a batch of int64 tensors of shape (batch, sequence); return its logits or hidden states."""
        output: torch.Tensor = self.model(**feed, return_dict=True)[self.output_name]
        return output


def load_checkpoint(weights: Path, *, attention: str = "sdpa", allow_pickle: bool = False) -> LoadedCheckpoint:
    """Load the checkpoint whose weights lie in `weights`, with config.json beside it.

    Args:
        weights: A .safetensors file, or with `allow_pickle` a pickled state (.bin).
        attention: transformers' name of the attention implementation: "sdpa" or "eager".
        allow_pickle: Read pickled weights too; only tensors are unpickled (`weights_only`).

    Raises:
        BenchkitError: Files missing, damaged, pickled without leave, or of an unsupported architecture.
    """
    config = _config(weights.parent)
    architecture = _architecture(weights.parent, config)
    is_classifier = architecture.endswith(_CLASSIFIER)
    state = _state(weights, allow_pickle=allow_pickle)
    try:
        with quiet_transformers():
            model_class = _model_class(config, is_classifier=is_classifier)
            model, report = model_class.from_pretrained(
                weights.parent if state is None else None,
                config=config,
                state_dict=state,
                dtype=torch.float32,
                attn_implementation=attention,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise BenchkitError(f"cannot load '{weights}': {_first_lines(error)}", remedy=_REMEDY_WEIGHTS) from error
    warnings = _checked(weights, architecture, report)
    return LoadedCheckpoint(
        model=model.eval(),
        architecture=type(model).__name__,
        input_names=INPUTS_BY_FAMILY[config.model_type],
        output_name="logits" if is_classifier else "last_hidden_state",
        max_positions=position_limit(config.to_dict()) or 0,
        warnings=warnings,
    )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' reports and progress bars off the terminal, and set them back after."""
    logs: Any = transformers.utils.logging  # Untyped in transformers.
    verbosity, had_bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(verbosity)
        if had_bars:
            logs.enable_progress_bar()


def _config(folder: Path) -> Any:
    path = folder / "config.json"
    values = read_json(path)
    family = values.get("model_type")
    if family not in INPUTS_BY_FAMILY:
        names = ", ".join(values.get("architectures") or ()) or "no architecture named"
        raise BenchkitError(
            f"'{path}': model type '{family}' ({names}) is not supported",
            remedy=f"supported: {', '.join(INPUTS_BY_FAMILY)}, each for sequence classification or as an encoder",
        )
    if values.get("is_decoder"):
        raise BenchkitError(
            f"'{path}' describes a decoder (is_decoder = true), which sees the words before each word only",
            remedy="give an encoder: a model whose every word sees the whole text",
        )
    positions = values.get("position_embedding_type") or "absolute"
    if positions != "absolute":  # transformers 5 reads such weights as if they were absolute.
        raise BenchkitError(
            f"'{path}' has position_embedding_type '{positions}', and only absolute positions are computed here",
            remedy="give a model with absolute positions",
        )
    try:
        with quiet_transformers():
            return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchkitError(f"'{path}' is no usable config: {_first_lines(error)}", remedy=_REMEDY_WEIGHTS) from error


def _architecture(folder: Path, config: Any) -> str:
    """Return the class name of the config; an encoder's when the config names none."""
    name = str((config.architectures or [f"{config.model_type}Model"])[0])
    if not name.endswith((_CLASSIFIER, *_HEADLESS)):
        raise BenchkitError(
            f"'{folder}' is a {name}, which is neither a sequence classifier nor a plain encoder",
            remedy=f"give a *{_CLASSIFIER} checkpoint, or an encoder ({', '.join('*' + kind for kind in _HEADLESS)})",
        )
    return name


def _model_class(config: Any, *, is_classifier: bool) -> Any:
    """Return the concrete class: only that one takes a state without a folder, with old names of weights mended."""
    auto: Any = transformers.AutoModelForSequenceClassification if is_classifier else transformers.AutoModel
    with torch.device("meta"):
        return type(auto.from_config(config))


def _state(weights: Path, *, allow_pickle: bool) -> dict[str, torch.Tensor] | None:
    """Return the state of a pickled file, or None for safetensors, which transformers reads by itself."""
    if not weights.is_file():
        raise BenchkitError(f"no weights at '{weights}'", remedy="check the path")
    if weights.suffix == ".safetensors":
        check_safetensors(weights)
        return None
    if not allow_pickle:
        raise BenchkitError(
            f"'{weights}' is a pickle, and unpickling can run code",
            remedy="say --allow-pickle to read its tensors only (weights_only), or convert it to safetensors",
        )
    try:
        state: dict[str, torch.Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BenchkitError(
            f"'{weights}' holds more than tensors, or is damaged: {_first_lines(error)}",
            remedy="have its owner save it as safetensors; it is not loaded here",
        ) from error
    return state


def _checked(weights: Path, architecture: str, report: Mapping[str, Any]) -> tuple[str, ...]:
    """Refuse a model that is partly random; say which weights of the file go unused."""
    # The pooler of an encoder without head feeds nothing that is measured.
    headless = not architecture.endswith(_CLASSIFIER)
    missing = sorted(name for name in report["missing_keys"] if not (headless and name.startswith("pooler.")))
    if missing:
        raise BenchkitError(
            f"'{weights}' lacks {len(missing)} weights of a {architecture}, such as '{missing[0]}'",
            remedy="fine-tune it first (benchkit train), or correct 'architectures' in config.json",
        )
    unused = sorted(name for name in report["unexpected_keys"] if not name.endswith("position_ids"))
    return (f"{len(unused)} weights of the checkpoint are not used, such as '{unused[0]}'",) if unused else ()


def _first_lines(error: BaseException) -> str:
    message = " ".join(str(error).split())
    return message if len(message) < 300 else message[:297] + "..."
