"""Whether donor, its source and the base can be merged at all, asked before any work is done."""

import dataclasses
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.json_files import read_json
from benchkit.core.recipes import MergeRecipe, SplitRecipe
from benchkit.merge.operators import PAIRWISE
from benchkit.tasks.tokenization import load_tokenizer

_WIDTHS = ("hidden_size", "intermediate_size", "num_attention_heads")
_SHAPE = (*_WIDTHS, "num_hidden_layers")
# Texts on which casing, accents and splitting show.
_PROBES = ("Zoë's CAFÉ, naïve: don't!", "a plain sentence .", "漢字 and x=1_000")
_PROBE_LENGTH = 64
_TOKENIZER = "tokenizer.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The checkpoints that go into one merge.

    Attributes:
        donor: Fine-tuned, with a classifier.
        donor_base: What the donor was fine-tuned from; None when it is not known.
        base: The encoder that it is merged into.
    """

    donor: Artifact
    donor_base: Artifact | None
    base: Artifact

    def by_role(self) -> dict[str, Artifact]:
        """Return those that are given, by role."""
        known = {"donor": self.donor, "donor_base": self.donor_base, "base": self.base}
        return {role: artifact for role, artifact in known.items() if artifact is not None}


def check_compatible(inputs: Inputs, recipe: MergeRecipe, splits: SplitRecipe) -> list[str]:
    """Refuse what cannot be merged; return warnings about what could not be checked.

    Raises:
        BenchkitError: Vocabularies or casing differ, a task vector is asked for without the donor's source, the
            donor and its source differ in shape, widths differ where nothing brings them together, or the
            donor has seen the text that the merge takes as unseen.
    """
    for role, artifact in inputs.by_role().items():
        _check_same_text(role, artifact, inputs.base)
    _check_method(inputs, recipe)
    _check_shapes(inputs, recipe)
    return _unseen_warnings(inputs, recipe, splits)


def _check_same_text(role: str, artifact: Artifact, base: Artifact) -> None:
    if artifact is base:
        return
    ours, theirs = _token_facts(artifact, role), _token_facts(base, "base")
    for what, value in ours.items():
        if value != theirs[what]:
            shown = "" if what in ("vocabulary", "token ids") else f" ({value} and {theirs[what]})"
            raise BenchkitError(
                f"{role} '{artifact.path}' and base '{base.path}' differ in {what}{shown}: "
                "the same text must give the same token ids in all models of a merge",
                remedy="merge checkpoints with one vocabulary, such as those of bert-base-uncased",
            )


def _token_facts(artifact: Artifact, role: str) -> dict[str, Any]:
    folder = artifact.path
    try:
        tokenizer = load_tokenizer(folder)
    except BenchkitError as error:
        raise BenchkitError(f"{role}: {error}", remedy=error.remedy) from error
    return {
        "vocab_size": artifact.config().get("vocab_size"),
        "do_lower_case": _lowers_case(folder),
        "vocabulary": _vocabulary(folder),
        "token ids": tokenizer.encode(_PROBES, None, max_length=_PROBE_LENGTH).ids,
    }


def _lowers_case(folder: Path) -> bool:
    if (folder / _TOKENIZER).is_file():
        normalizer = Tokenizer.from_file(str(folder / _TOKENIZER)).normalizer
        return normalizer is not None and normalizer.normalize_str("A") == "a"
    settings = folder / "tokenizer_config.json"
    return bool(read_json(settings).get("do_lower_case", True)) if settings.is_file() else True


def _vocabulary(folder: Path) -> dict[str, int]:
    if (folder / _TOKENIZER).is_file():
        vocabulary: dict[str, int] = Tokenizer.from_file(str(folder / _TOKENIZER)).get_vocab()
        return vocabulary
    words = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return {word: number for number, word in enumerate(words)}


def _check_method(inputs: Inputs, recipe: MergeRecipe) -> None:
    whole = PAIRWISE[recipe.method].whole_weights
    if whole and recipe.project.width != "none":
        raise BenchkitError(
            f"method '{recipe.method}' averages whole weights, and project.width '{recipe.project.width}' "
            "carries task vectors only: rotated whole weights do not fit the base's LayerNorms",
            remedy="use method 'task_arithmetic', or width 'none' for models of one basis",
        )
    if not whole and inputs.donor_base is None:
        raise BenchkitError(
            f"method '{recipe.method}' adds a task vector, and there is no donor_base to subtract from the donor",
            remedy="give the encoder that the donor was fine-tuned from as donor_base",
        )


def _check_shapes(inputs: Inputs, recipe: MergeRecipe) -> None:
    donor, base = _shape(inputs.donor), _shape(inputs.base)
    if inputs.donor_base is not None and _shape(inputs.donor_base) != donor:
        source = _shape(inputs.donor_base)
        key = next(key for key in _SHAPE if source[key] != donor[key])
        raise BenchkitError(
            f"donor '{inputs.donor.path}' was not fine-tuned from donor_base '{inputs.donor_base.path}': "
            f"their {key} is {donor[key]} and {source[key]}",
            remedy="give the encoder that the donor was fine-tuned from as donor_base",
        )
    differing = [key for key in _WIDTHS if donor[key] != base[key]]
    if recipe.project.width == "none" and differing:
        key = differing[0]
        raise BenchkitError(
            f"project.width is 'none', and the {key} of donor and base differ: {donor[key]} and {base[key]}",
            remedy="use width 'graft' or 'transport', which bring one width into another",
        )
    if recipe.head.mode == "transplant" and donor["hidden_size"] > base["hidden_size"]:
        raise BenchkitError(
            f"a head of hidden_size {donor['hidden_size']} cannot be transplanted into {base['hidden_size']}",
            remedy="use head mode 'probe_kd'",
        )


def _shape(artifact: Artifact) -> dict[str, Any]:
    config = artifact.config()
    return {key: config.get(key) for key in _SHAPE}


def _unseen_warnings(inputs: Inputs, recipe: MergeRecipe, splits: SplitRecipe) -> list[str]:
    if recipe.head.mode in ("probe_gold", "random"):
        return []
    seen_by = inputs.donor.manifest.recipe.get("splits")
    if seen_by is None:
        unknown = "which text the donor has seen is not known (its artifact.json does not say)"
        return [f"{unknown}: a label-free head fitted on text that it was trained on leaks labels"]
    if seen_by != splits.model_dump(mode="json"):
        raise BenchkitError(
            f"the donor's train file was carved by {seen_by}, and this merge carves it by "
            f"{splits.model_dump(mode='json')}: text taken as unlabelled may have been trained on",
            remedy="use the donor's own [splits], or head mode 'probe_gold'",
        )
    return []
