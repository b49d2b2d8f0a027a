"""The grammar of toy-sentiment: opinions whose polarity is made by the sentence, not by its words alone."""

import random

from benchkit.tasks.toy_words import ASPECTS, BAD, DISTRACTORS, GOOD, NEGATIONS, STRONG, WEAK

_LABELS = ("0", "1")  # As SST-2 writes negative and positive.


def sentiment_row(rng: random.Random) -> tuple[str, str]:
    """Return a sentence and its true label.

    How hard an example is, from easy to hard: one opinion; a negated one ("not dull" is
    positive); two opinions of which the second or the main clause counts ("a but b",
    "although a , b"); two of unlike strength joined by "and", of which the stronger counts. Each may
    carry distractors, and the opinions inside a contrast may be negated themselves.
    """
    positive = rng.random() < 0.5
    make = rng.choices((_plain, _negated, _contrast, _weighed), weights=(50, 20, 20, 10))[0]
    words = make(rng, positive)
    for distractor in rng.sample(DISTRACTORS, rng.choices((0, 1, 2), weights=(50, 35, 15))[0]):
        words = f"{distractor} , {words}" if rng.random() < 0.5 else f"{words} {distractor}"
    return f"{words} .", _LABELS[positive]


def flipped_sentiment(label: str) -> str:
    """Return the other label."""
    return _LABELS[label == "0"]


def _plain(rng: random.Random, positive: bool) -> str:
    strength = rng.choice(("", *WEAK, *STRONG))
    return _clause(rng, positive, strength)


def _negated(rng: random.Random, positive: bool) -> str:
    return f"the {rng.choice(ASPECTS)} was {rng.choice(NEGATIONS)} {_opinion(rng, not positive)}"


def _contrast(rng: random.Random, positive: bool) -> str:
    """The conceded half says the opposite; which half that is depends on the conjunction and its place."""
    counts, conceded = _half(rng, positive), _half(rng, not positive)
    return rng.choice(
        (
            f"{conceded} but {counts}",
            f"although {conceded} , {counts}",
            f"{counts} although {conceded}",
            f"{conceded} , yet {counts}",
        )
    )


def _weighed(rng: random.Random, positive: bool) -> str:
    halves = [_clause(rng, positive, rng.choice(STRONG)), _clause(rng, not positive, rng.choice(WEAK))]
    rng.shuffle(halves)
    return " and ".join(halves)


def _half(rng: random.Random, positive: bool) -> str:
    return _negated(rng, positive) if rng.random() < 0.3 else _plain(rng, positive)


def _clause(rng: random.Random, positive: bool, strength: str) -> str:
    return f"the {rng.choice(ASPECTS)} was {strength} {_opinion(rng, positive)}".replace("  ", " ")


def _opinion(rng: random.Random, positive: bool) -> str:
    return rng.choice(GOOD if positive else BAD)
