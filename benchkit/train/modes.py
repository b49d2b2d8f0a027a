"""What of a model learns: everything, biases, or low-rank adapters. The head alone is left to `probe`.

Every mode ends in an ordinary model: adapters are added into the matrices that they stand beside.
"""

import dataclasses
import warnings
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import torch
import transformers

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.recipes import LoraRecipe, TrainRecipe
from benchkit.train.quiet import quiet_libraries


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A model of which the right parameters learn.

    Attributes:
        model: The model to train.
        facts: What a checkpoint says of it: how many parameters learn, of how many; an adapter's matrices.
        adapted: What peft wrapped around the model; None without adapters.
    """

    model: Any
    facts: dict[str, Any]
    adapted: Any = None

    def finished(self) -> Any:
        """Return the ordinary model, call it after training."""
        return self.adapted.merge_and_unload() if self.adapted is not None else self.model


def prepare(model: Any, recipe: TrainRecipe, new: Sequence[str]) -> Prepared:
    """Freeze what does not learn in the recipe's mode; what is new in the model always learns.

    Args:
        model: A classifier.
        recipe: Says the mode.
        new: Names of the model's tensors that were drawn, not read: the head, and a pooler that was not there.

    Raises:
        BenchkitError: Adapters for matrices that the model has not.
        EnvironmentLacks: peft is not installed.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    adapted, facts = None, {}
    fresh = {name: parameter for name, parameter in model.named_parameters() if name in set(new)}
    if recipe.mode == "lora":
        adapted, targets = _with_adapters(model, recipe.lora, recipe.seed)
        facts = {"adapted": targets, "peft": metadata.version("peft")}
    elif recipe.mode != "full":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(recipe.mode == "bitfit" and name.endswith("bias"))
    for parameter in fresh.values():
        parameter.requires_grad_(True)
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Prepared(
        model=model,
        facts={"mode": recipe.mode, "trained_parameters": learning, "parameters": parameters, **facts},
        adapted=adapted,
    )


def final_linear(model: Any) -> torch.nn.Linear:
    """Return the last layer of a classifier: the linear map from features to logits, wherever the head keeps it.

    Raises:
        BenchkitError: The head ends in something else.
    """
    prefix = f"{model.base_model_prefix}."
    found = [
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and not name.startswith(prefix)
        and module.out_features == model.config.num_labels
    ]
    if not found:
        raise BenchkitError(
            f"the head of a '{model.config.model_type}' classifier does not end in a linear layer",
            remedy="take another mode: full, bitfit or lora",
        )
    return found[-1]


def _with_adapters(model: Any, lora: LoraRecipe, seed: int) -> tuple[Any, list[str]]:
    """Put adapters into the model, in place; return what unites them again, and the matrices that got one."""
    try:
        import peft
    except ModuleNotFoundError as error:
        raise EnvironmentLacks(
            "mode 'lora' needs the package 'peft', which is not installed", remedy="pip install 'benchkit[train]'"
        ) from error
    library: Any = peft  # Its annotation of alpha is int, and any number will do.
    config = library.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        # A list would do, but peft keeps it as a set, whose order differs from run to run.
        target_modules=sorted(lora.targets) or None,
    )
    # By the seed alone, however the head before it was drawn.
    transformers.set_seed(seed)
    try:
        with quiet_libraries(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name it gives up in v6.
            adapted = peft.get_peft_model(model, config)
    except ValueError as error:
        matrices = sorted({name.rpartition(".")[2] for name in _linear_names(model)})
        wanted = ", ".join(lora.targets) or f"the usual ones of '{model.config.model_type}'"
        raise BenchkitError(
            f"no adapters can be put beside {wanted}: {str(error).splitlines()[0]}",
            remedy=f"name them in [train.lora], targets = [...]; the model has {', '.join(matrices)}",
        ) from error
    return adapted, list(adapted.targeted_module_names)


def _linear_names(model: Any) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
