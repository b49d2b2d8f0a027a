"""Read a mergekit YAML file: linear, slerp and task_arithmetic of checkpoints of one shape.

Whatever of mergekit this version does not do is refused by name; nothing is skipped in silence. Carrying the
recipe out is left to `same_shape`.

Source: the file format of mergekit's README, section "Merge Configuration".
"""

from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from benchkit.core.errors import BenchkitError
from benchkit.core.frozen import Setting
from benchkit.core.settings import validated

_METHODS = ("linear", "slerp", "task_arithmetic")
# Keys and methods that mergekit knows: a person who writes one has not misspelt it.
_LATER_KEYS = {
    "slices",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
    "out_dtype",
    "modules",
    "density",
    "gamma",
    "epsilon",
    "int8_mask",
    "filter",
    "layer_range",
    "rescale",
}
_LATER_METHODS = {
    "ties", "dare_ties", "dare_linear", "della", "della_linear", "breadcrumbs", "breadcrumbs_ties", "model_stock",
    "nuslerp", "multislerp", "karcher", "sce", "passthrough", "nearswap", "arcee_fusion",
}  # fmt: skip


class Weighted(Setting):
    """Parameters of one model."""

    weight: float | None = None


class Model(Setting):
    """One model of the list."""

    model: str
    parameters: Weighted = Weighted()


class Parameters(Setting):
    """Parameters of the whole merge.

    Attributes:
        weight: Weight of every model that has none of its own.
        t: How far slerp walks from the base model.
        scale: mergekit's `lambda`.
        normalize: Divide by the sum of the weights; None takes the method's default.
    """

    weight: float | None = None
    t: float | None = pydantic.Field(default=None, ge=0, le=1)
    scale: float = pydantic.Field(default=1.0, alias="lambda")
    normalize: bool | None = None


class MergekitFile(Setting):
    """A mergekit recipe of the subset that this version does."""

    merge_method: Literal["linear", "slerp", "task_arithmetic"]
    models: tuple[Model, ...] = pydantic.Field(min_length=1)
    base_model: str | None = None
    parameters: Parameters = Parameters()
    dtype: Literal["float32", "float16", "bfloat16"] | None = None

    @pydantic.model_validator(mode="after")
    def _is_complete(self) -> "MergekitFile":
        names = [model.model for model in self.models]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"model '{twice}' is listed twice")
        if self.merge_method == "slerp":
            if self.base_model is None or len({*names, self.base_model}) != 2:
                raise ValueError("slerp needs a base_model and exactly one other model")
            if self.parameters.t is None:
                raise ValueError("slerp needs parameters.t")
            return self
        if self.merge_method == "task_arithmetic" and self.base_model is None:
            raise ValueError("task_arithmetic needs a base_model")
        for model in self.tuned():
            if self.weight_of(model) is None:
                raise ValueError(f"model '{model.model}' has no weight, and parameters has none either")
        if not self.tuned():
            raise ValueError("there is no model to merge besides base_model")
        return self

    def tuned(self) -> tuple[Model, ...]:
        """Return the models that are mixed: all of linear's, and those besides the base of the other methods."""
        if self.merge_method == "linear":
            return self.models
        return tuple(model for model in self.models if model.model != self.base_model)

    def weight_of(self, model: Model) -> float | None:
        """Return a model's own weight, or that of all."""
        return self.parameters.weight if model.parameters.weight is None else model.parameters.weight

    def sources(self) -> tuple[str, ...]:
        """Return the names of all checkpoints, the base first."""
        named = [model.model for model in self.models]
        return tuple(dict.fromkeys(([] if self.base_model is None else [self.base_model]) + named))


def load_mergekit_file(path: Path) -> MergekitFile:
    """Read and check a mergekit YAML file.

    Raises:
        BenchkitError: Missing file, broken YAML, an unknown key or value, or something of mergekit's that this
            version does not do: another method, `slices`, a gradient, a filter.
    """
    try:
        text = path.read_text(encoding="utf-8")
        value = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise BenchkitError(f"no file at '{path}'", remedy="check the path") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first_line = str(error).splitlines()[0]
        raise BenchkitError(f"{path}: not readable as YAML: {first_line}", remedy="mend the file") from error
    if not isinstance(value, dict):
        raise BenchkitError(f"{path}: no mapping of keys", remedy="write merge_method: and models: as in mergekit")
    _check_supported(value, str(path))
    return validated(value, MergekitFile, where=str(path))


def _check_supported(value: dict[str, Any], where: str) -> None:
    method = value.get("merge_method")
    if method in _LATER_METHODS:
        raise _not_yet(f"{where}: merge_method '{method}'", f"this version does {', '.join(_METHODS)}")
    for key in value:
        if key in _LATER_KEYS:
            raise _not_yet(f"{where}: key '{key}'", "leave it out, or merge with mergekit itself")
    tables = [("parameters", value.get("parameters"))]
    tables += [
        (f"parameters of model '{model.get('model')}'", model.get("parameters"))
        for model in value.get("models") or []
        if isinstance(model, dict)
    ]
    for table, parameters in tables:
        for key, setting in (parameters if isinstance(parameters, dict) else {}).items():
            if isinstance(setting, list | dict):
                raise _not_yet(f"{where}: a gradient or filter for '{key}' in {table}", "give one number")
            if key in _LATER_KEYS:
                raise _not_yet(f"{where}: key '{key}' in {table}", "leave it out, or merge with mergekit itself")


def _not_yet(what: str, remedy: str) -> BenchkitError:
    return BenchkitError(f"{what}: mergekit knows it, this version of benchkit does not do it", remedy=remedy)
