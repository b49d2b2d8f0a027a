"""The grammar of toy-entailment: facts under "some", "every" and "no", and what follows from them."""

import dataclasses
import random
from typing import Any

from benchkit.tasks.toy_words import SCENES, Kind, Scene, Verb

_LABELS = ("entailment", "not_entailment")  # As RTE writes them.

_LIVING = tuple(scene.subject for scene in SCENES)
_KINDS = {
    "subject": _LIVING,
    "target": (*_LIVING, *(scene.target for scene in SCENES)),
    "place": tuple(scene.place for scene in SCENES),
}
# Which way a slot may move for the sentence to stay true: to the wider word (+1) or the narrower one (-1).
# "some dog" makes "some animal" true, "every animal" makes "every dog" true, "no animal" makes "no dog" true.
_DIRECTIONS = {
    "some": {"subject": 1, "target": 1, "place": 1},
    "every": {"subject": -1, "target": 1, "place": 1},
    "no": {"subject": -1, "target": -1, "place": -1},
}
_CONTRARY = {"some": ("every", "no", "no"), "every": ("no",), "no": ("some", "every")}


_Changes = dict[str, Any]  # New values of some fields of a Fact.


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """Who did what to whom near which place; each word is a kind ("animal") or a member of one ("dog")."""

    quantity: str
    subject: str
    verb: Verb
    target: str
    place: str


def entailment_row(rng: random.Random) -> tuple[Fact, Fact, str]:
    """Return premise, hypothesis and the true label.

    The hypothesis is the premise after no, one or two steps that keep it true and, for not_entailment,
    one that breaks it. From easy to hard: a fact about something else; another quantity ("some" for "every"
    follows, "every" for "some" does not); another verb, or another word of the same kind; a wider or a
    narrower word, which follows or not depending on the quantity; subject and object exchanged, which
    leaves the words the same. Verbs have a synonym, which changes nothing.
    """
    label = rng.choice(_LABELS)
    while True:
        premise = _fact(rng)
        if label == "entailment":
            return premise, _followed(rng, premise), label
        breaking = rng.choices(tuple(_BREAKS), weights=tuple(_BREAKS.values()))[0]
        # What is broken is always a word of the premise: breaking a word that was moved could mend it.
        broken = breaking(rng, premise)
        if broken is not None:
            return premise, dataclasses.replace(_stepped(rng, premise), **broken), label


def other_entailment(label: str) -> str:
    """Return the other label."""
    return _LABELS[label == "entailment"]


def fact_text(rng: random.Random, fact: Fact) -> str:
    """Return a sentence that states the fact, with the verb or its synonym."""
    verb = fact.verb.synonym if rng.random() < 0.25 else fact.verb.past
    article = "an" if fact.target[0] in "aeiou" else "a"
    return f"{fact.quantity} {fact.subject} {verb} {article} {fact.target} near the {fact.place} ."


def _fact(rng: random.Random) -> Fact:
    scene = rng.choice(SCENES)
    # Subject and object are of two kinds, so that exchanging them always changes what is said.
    target = rng.choice([kind for kind in _LIVING if kind != scene.subject]) if rng.random() < 0.2 else scene.target
    words = [_word(rng, kind) for kind in (scene.subject, target, scene.place)]
    quantity = rng.choices(tuple(_DIRECTIONS), weights=(50, 38, 12))[0]
    return Fact(quantity, words[0], rng.choice(scene.verbs), words[1], words[2])


def _word(rng: random.Random, kind: Kind) -> str:
    return kind.word if rng.random() < 0.35 else rng.choice(kind.members)


def _followed(rng: random.Random, fact: Fact) -> Fact:
    if fact.quantity == "every" and rng.random() < 0.2:
        return dataclasses.replace(fact, quantity="some")
    return _stepped(rng, fact)


def _stepped(rng: random.Random, fact: Fact) -> Fact:
    """Take up to two steps that keep the fact true; those on different slots do not disturb each other."""
    for slot in rng.sample(tuple(_KINDS), rng.choices((0, 1, 2), weights=(25, 50, 25))[0]):
        moved: _Changes = _moved(rng, fact, slot, _DIRECTIONS[fact.quantity][slot]) or {}
        fact = dataclasses.replace(fact, **moved)
    return fact


def _moved(rng: random.Random, fact: Fact, slot: str, direction: int) -> _Changes | None:
    """Widen (+1) or narrow (-1) a slot's word; None when there is no such word."""
    word, kind = getattr(fact, slot), _kind_of(fact, slot)
    if (word == kind.word) == (direction > 0):
        return None
    return {slot: kind.word if direction > 0 else rng.choice(kind.members)}


def _moved_wrongly(rng: random.Random, fact: Fact) -> _Changes | None:
    slot = rng.choice(tuple(_KINDS))
    return _moved(rng, fact, slot, -_DIRECTIONS[fact.quantity][slot])


def _unrelated(rng: random.Random, fact: Fact) -> _Changes:
    """A fact of another scene, under the premise's quantity."""
    other = _fact(rng)
    while _scene_of(other) == _scene_of(fact):
        other = _fact(rng)
    return dataclasses.asdict(other) | {"quantity": fact.quantity, "verb": other.verb}


def _unlike(rng: random.Random, fact: Fact) -> _Changes:
    """Another verb, another member of the same kind, or a word of another kind."""
    slot = rng.choice(("verb", *_KINDS))
    if slot == "verb":
        return {slot: rng.choice([verb for verb in _scene_of(fact).verbs if verb != fact.verb])}
    word, kind = getattr(fact, slot), _kind_of(fact, slot)
    if word == kind.word:
        return {slot: _word(rng, rng.choice([other for other in _KINDS[slot] if other != kind]))}
    return {slot: rng.choice([member for member in kind.members if member != word])}


def _contrary(rng: random.Random, fact: Fact) -> _Changes:
    return {"quantity": rng.choice(_CONTRARY[fact.quantity])}


def _exchanged(_: random.Random, fact: Fact) -> _Changes | None:
    if _kind_of(fact, "target") not in _LIVING:
        return None
    return {"subject": fact.target, "target": fact.subject}


# How often each way of breaking is tried; `_exchanged` often finds nothing to exchange.
_BREAKS = {_contrary: 40, _unrelated: 25, _unlike: 15, _moved_wrongly: 12, _exchanged: 12}


def _scene_of(fact: Fact) -> Scene:
    return next(scene for scene in SCENES if fact.verb in scene.verbs)


def _kind_of(fact: Fact, slot: str) -> Kind:
    word = getattr(fact, slot)
    return next(kind for kind in _KINDS[slot] if word == kind.word or word in kind.members)
