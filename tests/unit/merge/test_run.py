"""Whole merges on pico checkpoints and a pico task."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import HeadRecipe, MergeRecipe, ProjectRecipe, SearchRecipe, SplitRecipe
from benchkit.merge.run import merge
from benchkit.tasks.metrics import evaluate
from benchkit.tasks.readers import read_split
from benchkit.tasks.splits import carve
from benchkit.tasks.table import task_named
from benchkit.tasks.tokenization import load_tokenizer

Talk = list[str]


@pytest.fixture
def run_merge(sst2_data: Path, tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any], Talk]]:
    """Merge, and return the folder, the manifest's notes and what was said."""

    def run(
        recipe: MergeRecipe,
        *,
        donor: Artifact,
        donor_base: Artifact | None,
        base: Artifact,
        splits: SplitRecipe | None = None,
        out: str = "merged",
    ) -> tuple[Path, dict[str, Any], Talk]:
        folder = tmp_path / out
        folder.mkdir()
        talk: Talk = []
        merge(
            recipe,
            donor=donor,
            donor_base=donor_base,
            base=base,
            task=task_named("sst2"),
            data=sst2_data,
            splits=splits or SplitRecipe(),
            name="merged-sst2",
            candidate="merged",
            out=folder,
            progress=lambda message, done=None: talk.append(message),
        )
        return folder, json.loads((folder / "artifact.json").read_text())["notes"], talk

    return run


@pytest.fixture(scope="module")
def large(checkpoint: Callable[..., Artifact], make_encoder: Callable[..., Any]) -> Artifact:
    return checkpoint(make_encoder(11, layers=4, hidden=48, inner=96))


@pytest.fixture
def learned(learned_donor: tuple[Artifact, Artifact]) -> dict[str, Artifact]:
    donor, donor_base = learned_donor
    return {"donor": donor, "donor_base": donor_base}


def validation_logits(folder: Path, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the written folder itself, by transformers and nothing of benchkit's merge."""
    validation = carve(read_split(task_named("sst2"), "train", data), SplitRecipe()).validation
    tokenizer = load_tokenizer(folder)
    feed = tokenizer.pad(tokenizer.encode(validation.first, None, max_length=32))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(**{name: torch.from_numpy(values) for name, values in feed.items()}).logits
    return logits.numpy(), np.array(validation.labels)


def test_a_merge_across_width_and_depth_writes_what_it_says(
    run_merge: Callable[..., Any], learned: dict[str, Artifact], large: Artifact, sst2_data: Path
) -> None:
    recipe = MergeRecipe(search=SearchRecipe(grid=(0.5, 1.0), extend_to=2.0))
    folder, notes, talk = run_merge(recipe, **learned, base=large)
    artifact = load_artifact(folder)
    assert artifact.manifest.parents == tuple(
        one.manifest.id for one in (learned["donor"], learned["donor_base"], large)
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert (config["hidden_size"], config["num_hidden_layers"]) == (48, 4)
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    logits, labels = validation_logits(folder, sst2_data)
    assert evaluate(task_named("sst2"), logits, labels) == notes["validation"]
    assert notes["validation"]["accuracy"] > notes["baseline"]["accuracy"]
    assert [row["scale"] for row in notes["search"]][:3] == [0.0, 0.5, 1.0]
    assert notes["control"]["validation"] == notes["search"][0]["validation"]
    assert {row["kind"] for row in notes["fit"]} >= {"space"}
    assert notes["donor_validation"]["accuracy"] > notes["baseline"]["accuracy"]
    assert any("scale 0.5: accuracy" in line for line in talk)
    report = json.loads((folder / "merge_report.json").read_text())
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    assert {row["tensor"] for row in report["plan"]} == set(tensors)
    assert "seconds" not in report


def test_the_same_merge_gives_the_same_artifact(
    run_merge: Callable[..., Any], learned: dict[str, Artifact], large: Artifact
) -> None:
    recipe = MergeRecipe(scale=1.0)
    first, *_ = run_merge(recipe, **learned, base=large, out="first")
    second, *_ = run_merge(recipe, **learned, base=large, out="second")
    assert load_artifact(first).manifest.id == load_artifact(second).manifest.id


def test_a_fixed_scale_keeps_its_control(
    run_merge: Callable[..., Any], learned: dict[str, Artifact], large: Artifact
) -> None:
    _, notes, _ = run_merge(MergeRecipe(scale=0.25), **learned, base=large)
    assert notes["scale"] == 0.25
    assert notes["configurations_tried"] == 2
    assert notes["control"]["scale"] == 0.0


def test_transplanting_onto_the_donors_own_encoder_gives_the_donor(
    run_merge: Callable[..., Any], learned: dict[str, Artifact], sst2_data: Path
) -> None:
    """The donor is the base too: at scale 0 the map between their states is the identity."""
    recipe = MergeRecipe(scale=0.0, project=ProjectRecipe(width="none"), head=HeadRecipe(mode="transplant", ridge=1e-9))
    donor = learned["donor"]
    folder, notes, _ = run_merge(recipe, donor=donor, donor_base=learned["donor_base"], base=donor)
    ours, _ = validation_logits(folder, sst2_data)
    theirs, _ = validation_logits(donor.path, sst2_data)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert any("holds nothing of the donor" in warning for warning in notes["warnings"])


def test_at_scale_zero_the_encoder_is_the_base(
    run_merge: Callable[..., Any], learned: dict[str, Artifact], large: Artifact
) -> None:
    folder, *_ = run_merge(MergeRecipe(scale=0.0), **learned, base=large)
    merged = safetensors.torch.load_file(folder / "model.safetensors")
    base = safetensors.torch.load_file(large.model_file)
    for name, tensor in base.items():
        assert torch.equal(merged[f"bert.{name}"], tensor), name


@pytest.mark.parametrize("mode", ["transplant", "probe_gold", "random"])
def test_every_head_makes_a_model_that_loads(
    run_merge: Callable[..., Any], learned: dict[str, Artifact], large: Artifact, sst2_data: Path, mode: str
) -> None:
    folder, notes, _ = run_merge(MergeRecipe(scale=1.0, head=HeadRecipe(mode=mode)), **learned, base=large)
    logits, labels = validation_logits(folder, sst2_data)
    assert evaluate(task_named("sst2"), logits, labels) == notes["validation"]


def test_averages_of_equal_widths_need_no_donor_base(
    run_merge: Callable[..., Any], learned: dict[str, Artifact]
) -> None:
    recipe = MergeRecipe(method="slerp", project=ProjectRecipe(width="none"))
    folder, notes, _ = run_merge(recipe, donor=learned["donor"], donor_base=None, base=learned["donor_base"])
    assert [row["scale"] for row in notes["search"]] == [0.0, 0.5]
    assert len(load_artifact(folder).manifest.parents) == 2


def test_a_donor_that_knows_nothing_is_named_before_the_merge_and_in_the_notes(
    run_merge: Callable[..., Any],
    checkpoint: Callable[..., Artifact],
    make_encoder: Callable[..., Any],
    large: Artifact,
) -> None:
    untrained = checkpoint(make_encoder(1), classes=2)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(untrained.path)
    model.classifier.weight.data.zero_()  # One answer for every text.
    model.save_pretrained(untrained.path)
    donor = load_artifact(untrained.path)
    _, notes, talk = run_merge(MergeRecipe(scale=0.5), donor=donor, donor_base=checkpoint(make_encoder(1)), base=large)
    assert any("nothing to give" in warning for warning in notes["warnings"])
    said = next(number for number, line in enumerate(talk) if "nothing to give" in line)
    assert said < next(number for number, line in enumerate(talk) if "aligning" in line)


def test_labels_in_another_order_are_put_into_the_tasks(
    run_merge: Callable[..., Any],
    learned: dict[str, Artifact],
    edited: Callable[..., Artifact],
    large: Artifact,
    tmp_path: Path,
) -> None:
    swapped = edited(
        learned["donor"],
        tmp_path / "swapped",
        id2label={"0": "positive", "1": "negative"},
        label2id={"positive": 0, "negative": 1},
    )
    _, plain, _ = run_merge(MergeRecipe(scale=1.0), **learned, base=large, out="plain")
    _, turned, _ = run_merge(MergeRecipe(scale=1.0), **(learned | {"donor": swapped}), base=large, out="turned")
    assert turned["donor_validation"]["accuracy"] == pytest.approx(1 - plain["donor_validation"]["accuracy"])


def refusal(run_merge: Callable[..., Any], recipe: MergeRecipe, **inputs: Any) -> str:
    with pytest.raises(BenchkitError) as caught:
        run_merge(recipe, **inputs)
    assert caught.value.remedy
    return str(caught.value)


def test_what_cannot_be_merged_is_refused(
    run_merge: Callable[..., Any],
    learned: dict[str, Artifact],
    large: Artifact,
    edited: Callable[..., Artifact],
    checkpoint: Callable[..., Artifact],
    make_encoder: Callable[..., Any],
    tmp_path: Path,
) -> None:
    none = MergeRecipe(project=ProjectRecipe(width="none"))
    assert "32 and 48" in refusal(run_merge, none, **learned, base=large, out="a")
    without = {"donor": learned["donor"], "donor_base": None}
    assert "no donor_base" in refusal(run_merge, MergeRecipe(), **without, base=large, out="b")
    other_source = {"donor": learned["donor"], "donor_base": checkpoint(make_encoder(3, layers=3))}
    message = refusal(run_merge, MergeRecipe(), **other_source, base=large, out="c")
    assert "num_hidden_layers is 2 and 3" in message
    linear = MergeRecipe(method="linear")
    assert "averages whole weights" in refusal(run_merge, linear, **learned, base=large, out="d")
    roberta = edited(large, tmp_path / "roberta", model_type="roberta")
    assert "'roberta'" in refusal(run_merge, MergeRecipe(), **learned, base=roberta, out="e")
    no_head = {"donor": learned["donor_base"], "donor_base": learned["donor_base"]}
    assert "no classifier" in refusal(run_merge, MergeRecipe(), **no_head, base=large, out="f")


def test_other_vocabulary_casing_or_size_is_refused(
    run_merge: Callable[..., Any],
    learned: dict[str, Artifact],
    large: Artifact,
    edited: Callable[..., Artifact],
    tmp_path: Path,
) -> None:
    larger = edited(large, tmp_path / "larger", vocab_size=23)
    assert "vocab_size (22 and 23)" in refusal(run_merge, MergeRecipe(), **learned, base=larger, out="a")
    cased = edited(large, tmp_path / "cased")
    content = json.loads((cased.path / "tokenizer.json").read_text())
    content["normalizer"]["lowercase"] = False
    (cased.path / "tokenizer.json").write_text(json.dumps(content))
    assert "do_lower_case" in refusal(run_merge, MergeRecipe(), **learned, base=cased, out="b")
    other = edited(large, tmp_path / "other")
    content = json.loads((other.path / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    words["good"], words["bad"] = words["bad"], words["good"]
    (other.path / "tokenizer.json").write_text(json.dumps(content))
    assert "differ in vocabulary" in refusal(run_merge, MergeRecipe(), **learned, base=other, out="c")


def test_nan_is_refused_by_the_name_of_its_tensor(
    run_merge: Callable[..., Any], learned: dict[str, Artifact], large: Artifact, edited: Callable[..., Artifact],
    tmp_path: Path,
) -> None:  # fmt: skip
    broken = edited(large, tmp_path / "broken")
    tensors = safetensors.torch.load_file(broken.model_file)
    tensors["encoder.layer.1.output.dense.weight"][3, 3] = float("nan")
    safetensors.torch.save_file(tensors, broken.model_file, metadata={"format": "pt"})
    message = refusal(run_merge, MergeRecipe(), **learned, base=load_artifact(broken.path))
    assert "base" in message
    assert "encoder.layer.1.output.dense.weight" in message


def test_text_that_the_donor_was_trained_on_is_refused_for_label_free_heads(
    run_merge: Callable[..., Any], learned: dict[str, Artifact], large: Artifact, edited: Callable[..., Artifact],
    tmp_path: Path,
) -> None:  # fmt: skip
    donor = edited(learned["donor"], tmp_path / "known")
    from benchkit.core.manifest import write_manifest

    recipe = {"step": "train", "splits": SplitRecipe().model_dump(mode="json")}
    write_manifest(donor.path, kind="checkpoint", name="donor", recipe=recipe)
    known = learned | {"donor": load_artifact(donor.path)}
    _, notes, _ = run_merge(MergeRecipe(scale=0.5), **known, base=large, out="same")
    assert not any("has seen" in warning for warning in notes["warnings"])
    other = SplitRecipe(seed=1)
    message = refusal(run_merge, MergeRecipe(scale=0.5), **known, base=large, splits=other, out="other")
    assert "may have been trained on" in message
    gold = MergeRecipe(scale=0.5, head=HeadRecipe(mode="probe_gold"))
    run_merge(gold, **known, base=large, splits=other, out="gold")
