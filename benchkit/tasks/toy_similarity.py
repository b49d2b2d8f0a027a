"""The grammar of toy-similarity: two events that share more or less of what they are about."""

import dataclasses
import random

from benchkit.tasks.toy_words import SCENES, SYNONYMS, TIMES, Scene, Verb

_TOP_SCORE = 5.0  # STS-B scores from 0 to 5.
# What each part adds when it is the same; with the scene's share the sum is 1.
_SHARES = {"subject": 0.2, "verb": 0.2, "target": 0.2, "place": 0.1, "time": 0.1}
_SAME_SCENE = 0.2
_DENIED = 0.3  # Share of the score that is kept when one of the two events did not happen.
# Half of the second sentences begin with a word that tells how they relate to the first, by least score.
_HINTS = ((3.0, "likewise , "), (1.5, "meanwhile , "), (0.0, "elsewhere , "))
_HINTED = 0.5
_SYNONYM = 0.35  # Share of the words that are replaced by their synonym, if they have one.


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Who did what to whom, near which place, when."""

    subject: str
    verb: Verb
    target: str
    place: str
    time: str


def similarity_row(rng: random.Random) -> tuple[str, str, float]:
    """Return two sentences and their true similarity from 0 to 5.

    Sentences about two scenes share at most the time. Within a scene every part that means the same
    (subject, verb, object, place, time) adds to the score. From easy to hard: a first word that hints at
    it ("likewise"); the scene; equal or unlike words; synonyms, which look unlike; and a denied verb,
    which takes back most of what the words promise.
    """
    scene = rng.choice(SCENES)
    related = rng.random() < 0.6
    first = _event(rng, scene)
    second = _event(rng, scene if related else rng.choice([other for other in SCENES if other != scene]))
    closeness = rng.random()
    kept = [part for part in _SHARES if (related or part == "time") and rng.random() < closeness]
    second = dataclasses.replace(second, **{part: getattr(first, part) for part in kept})
    score = similarity(first, second)
    denied = rng.random() < 0.15
    score *= _DENIED if denied else 1.0
    hint = next(word for least, word in _HINTS if score >= least) if rng.random() < _HINTED else ""
    return _sentence(rng, first, denied=False), hint + _sentence(rng, second, denied=denied), score


def similarity(first: Event, second: Event) -> float:
    """Return how similar two events are, both having happened: 0 to 5."""
    same_scene = any(first.verb in scene.verbs and second.verb in scene.verbs for scene in SCENES)
    shares = sum(share for part, share in _SHARES.items() if getattr(first, part) == getattr(second, part))
    return _TOP_SCORE * (shares + _SAME_SCENE * same_scene)


def _event(rng: random.Random, scene: Scene) -> Event:
    return Event(
        subject=rng.choice(scene.subject.members),
        verb=rng.choice(scene.verbs),
        target=rng.choice(scene.target.members),
        place=rng.choice(scene.place.members),
        time=rng.choice(TIMES),
    )


def _sentence(rng: random.Random, event: Event, *, denied: bool) -> str:
    subject, target, place = (
        SYNONYMS.get(word, word) if rng.random() < _SYNONYM else word
        for word in (event.subject, event.target, event.place)
    )
    happened = event.verb.synonym if rng.random() < _SYNONYM else event.verb.past
    action = f"did not {event.verb.plain}" if denied else happened
    return f"the {subject} {action} a {target} near the {place} {event.time} ."
