"""The toy tasks: in GLUE's layout, repeatable, true by their own logic, and neither trivial nor hopeless."""

import random
from pathlib import Path

import numpy as np
import pytest

from benchkit.tasks.metrics import METRICS
from benchkit.tasks.readers import Examples, read_split
from benchkit.tasks.table import TASKS, task_named
from benchkit.tasks.toy import write_toy_tasks
from benchkit.tasks.toy_entailment import Fact, entailment_row
from benchkit.tasks.toy_sentiment import sentiment_row
from benchkit.tasks.toy_similarity import similarity_row
from benchkit.tasks.toy_words import BAD, GOOD, NEGATIONS, SCENES, STRONG, WEAK

TOYS = [name for name, task in TASKS.items() if task.origin == "toy"]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    write_toy_tasks(folder)
    return folder


@pytest.mark.parametrize("name", TOYS)
def test_sizes_balance_and_no_text_twice(toys: Path, name: str) -> None:
    task = task_named(name)
    train, dev = (read_split(task, split, toys) for split in ("train", "validation"))
    assert (len(train), len(dev)) == (6000, 800)
    texts = list(zip(*((part.first, part.second or part.first) for part in (train, dev)), strict=True))
    assert (
        len(
            {*zip(train.first, train.second or train.first, strict=True)}
            | {*zip(dev.first, dev.second or dev.first, strict=True)}
        )
        == 6800
    )
    assert texts
    if not task.is_regression:
        assert 0.46 < np.mean(train.labels or ()) < 0.54
        assert 0.44 < np.mean(dev.labels or ()) < 0.56
    else:
        assert min(dev.labels or ()) == 0
        assert max(dev.labels or ()) > 4.9


def test_the_seed_decides_every_byte(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_toy_tasks(tmp_path / name, seed=seed, train=50, dev=20)
    for path in (tmp_path / "a").rglob("*.tsv"):
        below = path.relative_to(tmp_path / "a")
        assert path.read_bytes() == (tmp_path / "b" / below).read_bytes()
        assert path.read_bytes() != (tmp_path / "c" / below).read_bytes()
    assert len(list((tmp_path / "a").rglob("*.tsv"))) == 6


def test_the_vocabulary_is_a_few_hundred_words(toys: Path) -> None:
    words = {word for path in toys.rglob("train.tsv") for word in path.read_text().replace("\t", " ").split()}
    assert 150 < len({word for word in words if word.isalpha()}) < 400


def relation(slot: str, premise: Fact, hypothesis: Fact) -> str:
    """How the hypothesis' word relates to the premise's: same, wider, narrower or other."""
    old, new = getattr(premise, slot), getattr(hypothesis, slot)
    kinds = [kind for scene in SCENES for kind in (scene.subject, scene.target, scene.place)]
    if old == new:
        return "same"
    if any(new == kind.word and old in kind.members for kind in kinds):
        return "wider"
    return "narrower" if any(old == kind.word and new in kind.members for kind in kinds) else "other"


def follows(premise: Fact, hypothesis: Fact) -> bool:
    """Natural logic, written down once more: what each quantity allows in its subject and in the rest."""
    allowed = {
        ("some", "some"): ("wider", "wider"),
        ("every", "every"): ("narrower", "wider"),
        ("every", "some"): ("narrower", "wider"),
        ("no", "no"): ("narrower", "narrower"),
    }.get((premise.quantity, hypothesis.quantity))
    if allowed is None or premise.verb != hypothesis.verb:
        return False
    return all(
        relation(slot, premise, hypothesis) in ("same", way)
        for slot, way in (("subject", allowed[0]), ("target", allowed[1]), ("place", allowed[1]))
    )


def test_entailment_labels_are_true() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        premise, hypothesis, label = entailment_row(rng)
        assert (label == "entailment") == follows(premise, hypothesis), (premise, hypothesis)


def clause_polarity(clause: str) -> float:
    words = clause.split()
    sign = next((1 if word in GOOD else -1) for word in words if word in GOOD + BAD)
    if set(words) & set(NEGATIONS):
        sign = -sign
    return sign * (2 if set(words) & set(STRONG) else 0.5 if set(words) & set(WEAK) else 1)


def polarity(sentence: str) -> float:
    """The sentence's meaning, found from its text alone: the clause that counts, or the stronger of two."""
    clauses = [
        part
        for part in sentence.replace(" and ", " , and ")
        .replace(" but ", " , but ")
        .replace(" although ", " , although ")
        .split(" , ")
        if set(part.split()) & set(GOOD + BAD)
    ]
    kept = [clause for clause in clauses if not clause.startswith("although ")]
    if len(clauses) == len(kept) == 2 and not kept[1].startswith("and "):
        kept = kept[1:]  # "a but b", "a , yet b"
    return sum(clause_polarity(clause) for clause in kept)


def test_sentiment_labels_are_true() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        text, label = sentiment_row(rng)
        assert (polarity(text) > 0) == (label == "1"), text


def test_similarity_is_from_0_to_5_and_5_means_the_same() -> None:
    rng = random.Random(0)
    rows = [similarity_row(rng) for _ in range(3000)]
    assert min(score for _, _, score in rows) == 0
    assert max(score for _, _, score in rows) == pytest.approx(5)
    assert all(score <= 5 + 1e-9 for _, _, score in rows)
    assert all("did not" not in second for _, second, score in rows if score > 2)


def bag(examples: Examples) -> list[str]:
    """Bags of words: of a pair, those of each side and those that only one side has."""
    if examples.second is None:
        return list(examples.first)
    return [
        " ".join(
            [f"first:{word}" for word in first.split()]
            + [f"second:{word}" for word in second.split()]
            + [f"only:{word}" for word in {*first.split()} ^ {*second.split()}]
        )
        for first, second in zip(examples.first, examples.second, strict=True)
    ]


# Chance is .5 and 0; the wrong labels cap every model near .96, the raters' spread near .95.
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("toy-sentiment", 0.58, 0.80), ("toy-entailment", 0.60, 0.90), ("toy-similarity", 0.5, 0.90)],
)
def test_a_bag_of_words_beats_chance_and_misses_the_ceiling(toys: Path, name: str, low: float, high: float) -> None:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    task = task_named(name)
    train, dev = (read_split(task, split, toys) for split in ("train", "validation"))
    vectorizer = CountVectorizer(token_pattern=r"\S+", lowercase=False)
    model = Ridge() if task.is_regression else LogisticRegression(max_iter=300)
    model.fit(vectorizer.fit_transform(bag(train)), train.labels)
    answers = model.predict(vectorizer.transform(bag(dev)))
    assert low < METRICS[task.metrics[0]](answers, np.array(dev.labels)) < high
