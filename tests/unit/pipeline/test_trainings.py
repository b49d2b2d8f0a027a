from pathlib import Path

import pytest

from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import TrainFile
from benchkit.core.settings import load_toml
from benchkit.pipeline.trainings import Training, order_from

RECIPES = sorted((Path(__file__).resolve().parents[3] / "models" / "recipes").glob("*.toml"))


EACH = ("rte-seed7", "rte-seed0", "sst2-seed7", "sst2-seed0")


def folders(order) -> list[str]:
    return [str(folder) for _, _, _, folder in order.targets]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["models/pico"]),
        ({"seeds": (3,)}, ["models/pico"]),
        ({"seeds": (0, 1)}, ["models/pico-seed0", "models/pico-seed1"]),
        ({"tasks": ("sst2", "rte")}, ["models/pico-sst2", "models/pico-rte"]),
        ({"tasks": ("rte", "rte"), "seeds": (1, 1)}, ["models/pico"]),
        ({"tasks": ("rte", "sst2"), "seeds": (7, 0)}, [f"models/pico-{one}" for one in EACH]),
        ({"out": Path("here")}, ["here"]),
        ({"out": Path("here"), "seeds": (0, 1)}, ["here/pico-seed0", "here/pico-seed1"]),
    ],
)  # fmt: skip
def test_names(recipe, given, expected) -> None:
    assert folders(order_from(recipe(), **given)) == expected


def test_one_task_of_several_keeps_its_own_folder(recipe) -> None:
    """Else training the second task by itself would replace the first one's checkpoint."""
    path = recipe(task='["sst2", "rte"]')
    assert folders(order_from(path, tasks=("rte",))) == ["models/pico-rte"]
    assert folders(order_from(path, tasks=("rte",), out=Path("here"))) == ["here"]


def test_one_seed_of_several_keeps_its_own_folder(recipe) -> None:
    assert folders(order_from(recipe(seeds="[0, 1, 2]"), seeds=(1,))) == ["models/pico-seed1"]


def test_each_training_has_its_seed_its_task_and_its_threads(recipe, tiny_sst2) -> None:
    path = recipe(threads="3")
    order = order_from(path, seeds=(4, 5), overrides=["train.by_task.sst2.epochs=7"], data=tiny_sst2)
    trainings = order.trainings(threads=2)
    assert [(one.recipe.seed, one.recipe.epochs, one.recipe.threads) for one in trainings] == [(4, 7, 3), (5, 7, 3)]
    unsaid = recipe(epochs="2")
    unsaid.write_text(unsaid.read_text().replace("threads = 1\n", ""))
    [one] = order_from(unsaid, data=tiny_sst2).trainings(threads=2)
    assert one.recipe.threads == 2


def test_the_inputs_know_everything_that_determines_the_result(recipe, tiny_sst2, tmp_path) -> None:
    def key(path: Path, *, threads: int = 1, **given: object) -> str:
        [training] = order_from(path, data=tiny_sst2, **given).trainings(threads=threads)
        return training.step().key({})

    first = key(recipe())
    assert key(recipe()) == first
    assert key(recipe(), seeds=(1,)) != first
    assert key(recipe(epochs="2")) != first
    assert key(recipe(validation="11")) != first
    assert key(recipe(threads="2")) != first, "the bits depend on the number of threads"
    (tmp_path / "encoder" / "model.safetensors").write_text("other weights")
    assert key(recipe()) != first


def test_a_training_crosses_a_process_boundary_whole(recipe, tiny_sst2) -> None:
    import json

    [training] = order_from(recipe(), data=tiny_sst2).trainings(threads=1)
    again = Training.from_json(json.loads(json.dumps(training.as_json())))
    assert again == training
    assert again.step().key({}) == training.step().key({})


def test_a_teacher_is_found_by_task_and_seed(recipe, tiny_sst2, tmp_path) -> None:
    for seed in (0, 1):
        (tmp_path / f"large-sst2-seed{seed}").mkdir()
        for name in ("config.json", "model.safetensors"):
            (tmp_path / f"large-sst2-seed{seed}" / name).write_text(f"{name} {seed}")
    path = recipe(teacher='"large-{task}-seed{seed}"')
    with pytest.raises(BenchkitError, match="belong together"):
        order_from(path)
    path.write_text(path.read_text() + "\n[train.distill]\ntemperature = 2.0\n")
    trainings = order_from(path, seeds=(0, 1), data=tiny_sst2).trainings(threads=1)
    assert [one.teacher for one in trainings] == [tmp_path / f"large-sst2-seed{seed}" for seed in (0, 1)]
    assert trainings[0].inputs["teacher"] != trainings[1].inputs["teacher"]


def test_a_teacher_that_is_not_there_is_told_before_anything_is_made(recipe, tiny_sst2) -> None:
    path = recipe(teacher='"no/where-{task}"')
    path.write_text(path.read_text() + "\n[train.distill]\n")
    with pytest.raises(BenchkitError, match="pico learns from a teacher, and there is none at 'no/where-sst2'"):
        order_from(path, data=tiny_sst2).trainings(threads=1)


def test_a_task_file_lies_beside_the_recipe(recipe, tmp_path, monkeypatch) -> None:
    (tmp_path / "mood.toml").write_text('text = "sentence"\nlabel = "mood"\ntrain = "mood.csv"\n')
    (tmp_path / "mood.csv").write_text("sentence,mood\ngood film,glad\nbad film,sad\n")
    path = recipe(task='"mood.toml"', encoder=f'"{tmp_path / "encoder"}"')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    [training] = order_from(path).trainings(threads=1)
    assert training.task.name == "mood"
    assert training.data == tmp_path
    assert training.inputs["task_file"]
    [named] = order_from(path, tasks=("../mood.toml",)).trainings(threads=1)
    assert named.inputs == training.inputs


@pytest.mark.parametrize(
    ("changes", "given", "problem"),
    [
        ({"epoch": "3"}, {}, "unknown key 'epoch'"),
        ({"task": '"sst3"'}, {}, "unknown task 'sst3'"),
        ({}, {"tasks": ("sst2", "sst3")}, "unknown task 'sst3'"),
        ({"task": "[]"}, {}, "no task"),
        ({}, {"overrides": ["train.epoch=3"]}, "unknown key 'epoch'"),
        ({}, {"overrides": ["train.epochs"]}, "has no '='"),
        ({}, {"overrides": ["train.by_task.rte.epochs=3"]}, "not trained on"),
        ({"seeds": '["a"]'}, {}, "valid integer"),
        ({"teacher": '"t"'}, {}, "belong together"),
    ],
)
def test_mistakes(recipe, changes, given, problem) -> None:
    with pytest.raises(BenchkitError, match=problem):
        order_from(recipe(**changes), **given)


def test_a_folder_of_something_else_is_refused_before_anything_is_made(recipe, tmp_path) -> None:
    (tmp_path / "out" / "pico-seed1").mkdir(parents=True)
    (tmp_path / "out" / "pico-seed1" / "chapter1.txt").write_text("years of work")
    with pytest.raises(BenchkitError, match=r"no artifact\.json"):
        order_from(recipe(), seeds=(0, 1), out=tmp_path / "out")


def test_several_trainings_do_not_go_into_an_artifact(recipe, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "artifact.json").write_text("{}")
    with pytest.raises(BenchkitError, match="2 trainings need a folder around theirs"):
        order_from(recipe(), seeds=(0, 1), out=tmp_path / "out")


@pytest.mark.parametrize("path", [path for path in RECIPES if "graft" not in path.name], ids=lambda path: path.stem)
def test_the_shipped_recipes_are_valid(path: Path, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_toml(path, TrainFile)
    order = order_from(path)
    assert all(folder.parent == Path("models") for _, _, _, folder in order.targets)
    assert all(recipe.train.for_task(task).epochs >= 3 for task in recipe.train.by_task)


def test_the_published_ones_cover_glue() -> None:
    glue = {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"}
    for name in ("bert-base", "tinybert-4l"):
        recipe = load_toml(RECIPES[0].parent / f"{name}.toml", TrainFile)
        assert set(recipe.task) == glue
        assert recipe.train.for_task("mrpc").batch_size == 32
