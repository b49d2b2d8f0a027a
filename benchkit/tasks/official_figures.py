"""What is known of GLUE's official files: rows, labels, bytes of text, digests. Figures only, no data.

Source: rows and bytes of text from the card of nyu-mll/glue (num_bytes less 12 bytes a row, 8 for STS-B, and 4 for each
sentence); they agree with the files of GLUE's own download. Labels and digests were taken from those files; labels of
the MNLI, QNLI and QQP train sets, of QQP's dev set and of MNLI's mismatched one from their published shares.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Figures(NamedTuple):
    """What an official file has.

    Attributes:
        rows: Examples.
        text_bytes: UTF-8 bytes of all sentences together; None where nobody has published them.
        labels: Examples by label; None where GLUE keeps labels to itself, where they are scores, or where it is not
            known.
        score_sum: Sum of the scores of a regression; None elsewhere.
        sha256: Digest of the original file; None where only its figures are known.
    """

    rows: int
    text_bytes: int | None
    labels: Mapping[str, int] | None = None
    score_sum: float | None = None
    sha256: str | None = None


def _entailment(entailment: int, neutral: int, contradiction: int) -> dict[str, int]:
    return {"entailment": entailment, "neutral": neutral, "contradiction": contradiction}


def _two(names: str, first: int, second: int) -> dict[str, int]:
    return dict(zip(names.split(), (first, second), strict=True))


_COLA = "unacceptable acceptable"
_SST2 = "negative positive"
_MRPC = "not_equivalent equivalent"
_QQP = "not_duplicate duplicate"
_ENTAILMENT = "entailment not_entailment"

# (task, split) -> its figures.
OFFICIAL: dict[tuple[str, str], Figures] = {
    ("cola", "train"): Figures(
        8_551,
        348_053,
        _two(_COLA, 2_528, 6_023),
        sha256="cb368ebeb9f27d7ad03720d27ddc95687a311bdb100781a2fe59a5f5b1bc0624",
    ),
    ("cola", "validation"): Figures(
        1_043,
        43_634,
        _two(_COLA, 322, 721),
        sha256="8c013e21dc39957cac37378d87bebe225b694a0d5fe13eded66c2856628833fd",
    ),
    ("cola", "test"): Figures(1_063, 43_505, sha256="3b4df85f7a9a0633574b38d181e18090ac961a24b18fb6bcd74999ddea8ad0b8"),
    ("sst2", "train"): Figures(
        67_349,
        3_604_019,
        _two(_SST2, 29_780, 37_569),
        sha256="48eac26399f8456935f81dd9e3a745c1430adb6c62e233ccfe22db4a0d15d1d1",
    ),
    ("sst2", "validation"): Figures(
        872,
        92_300,
        _two(_SST2, 428, 444),
        sha256="54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0",
    ),
    ("sst2", "test"): Figures(
        1_821, 187_504, sha256="69a938605609b3e6663b4487918fe1565eb293734e6e520d0366d1d412fd2a13"
    ),
    ("mrpc", "train"): Figures(
        3_668,
        870_483,
        _two(_MRPC, 1_194, 2_474),
        sha256="69abcedee3cf738c6ce58d772e43e1b7cdf5b4edee4aceda459c0d9f4e5599f3",
    ),
    ("mrpc", "validation"): Figures(
        408,
        97_719,
        _two(_MRPC, 129, 279),
        sha256="9e8f284788040f7c9ecde2e1b3c07237c756f926bd9ef8548ef5d34b56f69f17",
    ),
    ("mrpc", "test"): Figures(
        1_725, 407_910, sha256="aee460ceda833926b8ab2ad952d399f5cf8bc9335cff19afcac03dc449558622"
    ),
    ("stsb", "train"): Figures(
        5_749,
        662_807,
        score_sum=15_528.043,
        sha256="41c4d978b6162abdcada7e49a982211954cca5459c228db478af333124b257a2",
    ),
    ("stsb", "validation"): Figures(
        1_500,
        192_064,
        score_sum=3_545.861,
        sha256="fe7dc0632a5033562f3cadff991f6e8d9b9b6311861660e78c3c82eb7db67f59",
    ),
    ("stsb", "test"): Figures(
        1_379, 147_910, sha256="16b4223d7d44a644fbc10f1b449472cfe81e1715fb07cf44023b0aa88ce856eb"
    ),
    ("qqp", "train"): Figures(363_846, 43_623_900, _two(_QQP, 229_468, 134_378)),
    ("qqp", "validation"): Figures(40_430, 4_845_154, _two(_QQP, 25_545, 14_885)),
    ("qqp", "test"): Figures(390_965, 47_351_811),
    ("mnli", "train"): Figures(392_702, 66_765_606, _entailment(130_899, 130_900, 130_903)),
    ("mnli", "validation"): Figures(9_815, 1_637_483, _entailment(3_479, 3_123, 3_213)),
    ("mnli", "validation_mismatched"): Figures(9_832, 1_752_591, _entailment(3_463, 3_129, 3_240)),
    ("mnli", "test"): Figures(9_796, 1_652_734),
    ("mnli", "test_mismatched"): Figures(9_847, 1_753_763),
    ("qnli", "train"): Figures(104_743, 23_517_583, _two(_ENTAILMENT, 52_366, 52_377)),
    ("qnli", "validation"): Figures(
        5_463,
        1_259_044,
        _two(_ENTAILMENT, 2_702, 2_761),
        sha256="ac19409dcb04631eaaa094bdebdcf621086bc352503dfb6a1a648b614986f4fd",
    ),
    ("qnli", "test"): Figures(
        5_463, 1_263_833, sha256="6d856264e292fa7a7bc7b8e182efa1454ffd9532733c12ad813017dd5b377a5a"
    ),
    ("rte", "train"): Figures(
        2_490,
        797_520,
        _two(_ENTAILMENT, 1_249, 1_241),
        sha256="41e3a9b063433392343fad9e962cf2f58b681c78d8f71592f4186f0837246c5c",
    ),
    ("rte", "validation"): Figures(
        277,
        85_188,
        _two(_ENTAILMENT, 146, 131),
        sha256="80230dfa1347282e7b532b06a1004a76a710087541189bf874223ddf0e3819fb",
    ),
    ("rte", "test"): Figures(3_000, 914_053, sha256="6e33f09b5c2bfd5fd5fde217070f3dd49e484e33b9752b5864cf36fc421a213f"),
    ("wnli", "train"): Figures(
        635,
        94_409,
        _two("not_entailment entailment", 323, 312),
        sha256="9a88e9d54b6861cc796a088e9acf4f5f65064a9ef65ae6fa7a688b28391e5c9a",
    ),
    ("wnli", "validation"): Figures(
        71,
        10_742,
        _two("not_entailment entailment", 40, 31),
        sha256="cba00490596dd14be8cf53b4f53bb744abe3a7b89f81ab210528d80225338ed5",
    ),
    ("wnli", "test"): Figures(146, 34_969, sha256="ff0296817e235bf6f7a230c5f6781bd6ee228a45445f6510831fdef6f2a04766"),
    ("ax", "test"): Figures(1_104, 215_614, sha256="0e13510b1bb14436ff7e2ee82338f0efb0133ecf2e73507a697dc210db3f05fd"),
    ("ax", "validation"): Figures(1_104, None),
}

# Files that go round under an official file's name, by digest: what they are instead.
KNOWN_STAND_INS = {
    "7b3ba833afb15ac72de5db2091d66edfa4a928f235436e258a746fb39b6cf49b": "a stand-in, held out from the official "
    "train set; none of its rows is of the official dev set",
    "0ca100237f382ba01820f52b572373cf4ae98be35a6559679f9f8056c02733ca": "its sentences are tokenised, unlike the "
    "official ones",
}
