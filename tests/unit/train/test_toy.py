from pathlib import Path

import pytest
import transformers

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import ToyEncoderRecipe
from benchkit.tasks.readers import read_split
from benchkit.tasks.table import TASKS
from benchkit.tasks.tokenization import load_tokenizer
from benchkit.tasks.toy import write_toy_tasks
from benchkit.train.toy import _learned_tokenizer, make_toy_encoder

SMALL = ToyEncoderRecipe(hidden_size=16, layers=1, heads=2, intermediate_size=32, vocabulary_size=150)
LARGE = ToyEncoderRecipe(hidden_size=32, layers=2, heads=4, intermediate_size=48, vocabulary_size=150, seed=3)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("toys")
    write_toy_tasks(data, seed=0, train=120, dev=20)
    return data


def made(recipe: ToyEncoderRecipe, data: Path, out: Path) -> Artifact:
    out.mkdir()
    make_toy_encoder(recipe, name=out.name, data=data, out=out)
    return load_artifact(out)


def test_encoders_of_two_shapes_share_one_vocabulary(toys, tmp_path):
    small, large = made(SMALL, toys, tmp_path / "small"), made(LARGE, toys, tmp_path / "large")
    for name in ("tokenizer.json", "vocab.txt"):
        assert (small.path / name).read_bytes() == (large.path / name).read_bytes()
    assert small.config()["vocab_size"] == large.config()["vocab_size"] == 150
    assert (large.config()["hidden_size"], large.config()["num_hidden_layers"]) == (32, 2)
    assert small.manifest.weights == "random"
    assert "not a published model" in small.manifest.notes["made_by"]


def test_the_same_texts_give_the_same_vocabulary_each_time(toys):
    # The trainer's hash tables are seeded anew for each call, so repeating it here shows what another process would.
    learned = {_learned_tokenizer(toys, 150)[0].to_str() for _ in range(8)}
    assert len(learned) == 1


def test_the_vocabulary_covers_the_text_it_was_learned_from(toys, tmp_path):
    artifact = made(SMALL, toys, tmp_path / "small")
    tokenizer = load_tokenizer(artifact.path)
    unknown = transformers.AutoTokenizer.from_pretrained(artifact.path).unk_token_id
    examples = read_split(TASKS["toy-entailment"], "train", toys)
    encoded = tokenizer.encode(examples.first, examples.second, max_length=128)
    assert not [row for row in encoded.ids if unknown in row]
    assert encoded.ids[0][0] == 2  # [CLS]
    assert {number for row in encoded.type_ids for number in row} == {0, 1}


def test_the_seed_draws_the_weights(toys, tmp_path):
    first = made(SMALL, toys, tmp_path / "first")
    other = made(SMALL.model_copy(update={"seed": 1}), toys, tmp_path / "other")
    assert first.manifest.id != other.manifest.id


def test_heads_have_to_divide_the_width(toys, tmp_path):
    with pytest.raises(BenchkitError, match="hidden_size 16 is no multiple of heads 3"):
        made(SMALL.model_copy(update={"heads": 3}), toys, tmp_path / "odd")


def test_without_toy_tasks_there_is_nothing_to_learn_from(tmp_path):
    with pytest.raises(BenchkitError, match="no toy task"):
        made(SMALL, tmp_path, tmp_path / "out")
