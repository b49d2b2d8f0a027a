"""The lexicon of the toy tasks: a few hundred words with the relations that the grammars need."""

from typing import NamedTuple


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Opinion words by polarity.
GOOD = _words("bright charming clever fresh funny gentle honest lovely moving sharp superb warm witty great solid")
BAD = _words("awful bland boring clumsy cold confused dull empty flat lazy noisy pale silly stale weak")
NEGATIONS = ("not", "never", "hardly")
# How much an opinion counts: the first group weakens it, the second strengthens it.
WEAK = ("slightly", "somewhat", "mildly")
STRONG = ("very", "extremely", "deeply")
ASPECTS = _words("acting camera cast dialogue ending film humour music pace picture plot script story style tone")
DISTRACTORS = (
    "on monday",
    "in the small cinema",
    "for two hours",
    "with my sister",
    "after a long day",
    "in the second half",
    "at the old theatre",
    "as far as i know",
    "to be fair",
    "from start to finish",
)


class Kind(NamedTuple):
    """A sort of thing: a word for all of it, and the words for what belongs to it."""

    word: str
    members: tuple[str, ...]


class Verb(NamedTuple):
    """An action: its past form, its plain form, and another past form that means the same."""

    past: str
    plain: str
    synonym: str


class Scene(NamedTuple):
    """What goes together: who does what, to what, near which place."""

    subject: Kind
    verbs: tuple[Verb, ...]
    target: Kind
    place: Kind


SCENES = (
    Scene(
        Kind("animal", ("dog", "horse", "goat", "fox")),
        (Verb("chased", "chase", "pursued"), Verb("pulled", "pull", "dragged"), Verb("feared", "fear", "dreaded")),
        Kind("vehicle", ("cart", "truck", "bicycle", "tractor")),
        Kind("landscape", ("field", "forest", "valley")),
    ),
    Scene(
        Kind("cook", ("chef", "baker", "butcher", "brewer")),
        (Verb("tasted", "taste", "tried"), Verb("sold", "sell", "traded"), Verb("made", "make", "prepared")),
        Kind("dish", ("soup", "cake", "pie", "salad")),
        Kind("room", ("kitchen", "cellar", "pantry")),
    ),
    Scene(
        Kind("child", ("boy", "girl", "pupil", "toddler")),
        (Verb("drew", "draw", "sketched"), Verb("copied", "copy", "repeated"), Verb("hid", "hide", "concealed")),
        Kind("text", ("book", "letter", "poem", "map")),
        Kind("building", ("school", "library", "museum")),
    ),
    Scene(
        Kind("sailor", ("captain", "diver", "pilot", "fisherman")),
        (Verb("steered", "steer", "guided"), Verb("mended", "mend", "repaired"), Verb("painted", "paint", "coated")),
        Kind("boat", ("ship", "ferry", "canoe", "raft")),
        Kind("coast", ("harbour", "beach", "island")),
    ),
)

# Words that mean the same in the similarity task.
SYNONYMS = {
    "dog": "hound",
    "horse": "pony",
    "cart": "wagon",
    "truck": "lorry",
    "bicycle": "bike",
    "field": "meadow",
    "forest": "wood",
    "valley": "dale",
    "cake": "tart",
    "soup": "broth",
    "cellar": "basement",
    "pantry": "larder",
    "boy": "lad",
    "girl": "lass",
    "pupil": "student",
    "toddler": "infant",
    "book": "volume",
    "letter": "note",
    "map": "chart",
    "school": "academy",
    "captain": "skipper",
    "fisherman": "angler",
    "ship": "vessel",
    "harbour": "port",
    "beach": "shore",
    "island": "isle",
}
TIMES = _words("today yesterday early late")
