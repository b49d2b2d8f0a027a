"""Text to token ids, by the tokenizer that lies beside the model; without transformers.

Batching and order are left to `scoring`; what a model does with the ids, to `runtimes`.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from benchkit.core.architectures import position_limit
from benchkit.core.errors import BenchkitError
from benchkit.core.json_files import read_json

# Offsets and token texts of so many examples are held at once; only their ids are kept.
_CHUNK = 2_000

_SPECIAL_FILES = ("tokenizer_config.json", "special_tokens_map.json")
_SPECIAL_NAMES = ("unk", "cls", "sep", "pad", "mask", "bos", "eos")

_SAVE_TOKENIZER = "save the tokenizer into the folder: AutoTokenizer.from_pretrained(ID).save_pretrained(DIR)"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Token ids of examples, special tokens included, padding not.

    Attributes:
        ids: Token ids of each example.
        type_ids: 0 for tokens of the first sentence, 1 for those of the second.
        truncated: Examples that were longer than the limit.
    """

    ids: list[list[int]]
    type_ids: list[list[int]]
    truncated: int

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.ids)

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the tokens of each example, shape (n,)."""
        return np.fromiter((len(row) for row in self.ids), dtype=np.int64, count=len(self.ids))

    def take(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> "Encoded":
        """Return some of the examples in the order given; `truncated` is of the whole and becomes 0."""
        return Encoded(ids=[self.ids[row] for row in rows], type_ids=[self.type_ids[row] for row in rows], truncated=0)


class TextTokenizer:
    """A tokenizer with fixed settings: special tokens added, truncated longest first, padded on the right."""

    def __init__(self, backend: Tokenizer, *, pad_id: int, max_positions: int | None = None) -> None:
        backend.no_padding()
        backend.no_truncation()
        self._backend = backend
        self.pad_id = pad_id
        self.max_positions = max_positions
        """Longest input the model can take; None when its config does not say."""

    @property
    def largest_id(self) -> int:
        """The largest id that the tokenizer can give."""
        return max(self._backend.get_vocab(with_added_tokens=True).values())

    def encode(self, first: Sequence[str], second: Sequence[str] | None, *, max_length: int) -> Encoded:
        """Turn texts or pairs of texts into token ids.

        Args:
            first: First or only text of each example.
            second: Second text of each example, or None.
            max_length: Most tokens an example may have, special tokens included. Of a pair, the longer text
                loses tokens first, at its end.

        Raises:
            BenchkitError: `max_length` leaves no room for text, or an example has more tokens than the model
                has positions.
        """
        special = self._backend.num_special_tokens_to_add(second is not None)
        if max_length <= special:
            raise BenchkitError(
                f"max_length {max_length} leaves no room beside {special} special tokens",
                remedy=f"give at least {special + 1}",
            )
        self._backend.enable_truncation(max_length, strategy="longest_first")
        try:
            encoded = self._encoded(first, second)
        finally:
            self._backend.no_truncation()
        longest = max((len(row) for row in encoded.ids), default=0)
        if self.max_positions is not None and longest > self.max_positions:
            raise BenchkitError(
                f"an example has {longest} tokens, and the model takes {self.max_positions}",
                remedy=f"give a max_length of at most {self.max_positions}",
            )
        return encoded

    def pad(self, rows: Encoded, to: int | None = None) -> dict[str, npt.NDArray[np.int64]]:
        """Make one batch, padded on the right.

        Args:
            rows: The examples of the batch.
            to: Length in tokens; None takes the longest of the batch.

        Returns:
            input_ids, attention_mask and token_type_ids: int64 arrays of shape (batch, to).
        """
        lengths = rows.lengths()
        width = int(lengths.max(initial=0)) if to is None else to
        if lengths.max(initial=0) > width:
            raise ValueError(f"an example of {lengths.max()} tokens does not fit into {width}")
        mask = np.arange(width) < lengths[:, None]
        input_ids = np.full(mask.shape, self.pad_id, dtype=np.int64)
        type_ids = np.zeros(mask.shape, dtype=np.int64)
        # A mask is filled row by row, which is the order of the concatenated rows.
        input_ids[mask] = _joined(rows.ids)
        type_ids[mask] = _joined(rows.type_ids)
        return {"input_ids": input_ids, "attention_mask": mask.astype(np.int64), "token_type_ids": type_ids}

    def _encoded(self, first: Sequence[str], second: Sequence[str] | None) -> Encoded:
        ids: list[list[int]] = []
        type_ids: list[list[int]] = []
        truncated = 0
        for start in range(0, len(first), _CHUNK):
            chunk: Sequence[Any] = first[start : start + _CHUNK]
            if second is not None:
                chunk = list(zip(chunk, second[start : start + _CHUNK], strict=True))
            for encoding in self._backend.encode_batch_fast(chunk, add_special_tokens=True):
                ids.append(encoding.ids)
                type_ids.append(encoding.type_ids)
                truncated += bool(encoding.overflowing)
        return Encoded(ids=ids, type_ids=type_ids, truncated=truncated)


def load_tokenizer(folder: Path) -> TextTokenizer:
    """Load the tokenizer of an artifact folder: tokenizer.json, or a WordPiece vocab.txt.

    Raises:
        BenchkitError: The folder has no tokenizer, a damaged one, one without padding token, or one whose
            vocabulary does not fit the model.
    """
    backend = _backend(folder)
    _register_special(folder, backend)
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    tokenizer = TextTokenizer(backend, pad_id=_pad_id(folder, backend, config), max_positions=position_limit(config))
    rows = config.get("vocab_size")
    if rows is not None and tokenizer.largest_id >= rows:
        raise BenchkitError(
            f"the tokenizer in '{folder}' does not fit the model: its largest id is {tokenizer.largest_id:,}, "
            f"and the model's vocab_size is {rows:,}",
            remedy="put the tokenizer that the model was trained with into the folder",
        )
    return tokenizer


def check_vocabulary(folder: Path) -> None:
    """Check that the folder has a tokenizer and that the model has a row for each of its ids.

    Raises:
        BenchkitError: As `load_tokenizer`.
    """
    load_tokenizer(folder)


def _backend(folder: Path) -> Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return _from_file(folder / "tokenizer.json")
    if (folder / "vocab.txt").is_file():
        return _word_piece(folder)
    present = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else "no folder"
    raise BenchkitError(
        f"no tokenizer in '{folder}': neither tokenizer.json nor vocab.txt, but {present or 'nothing'}",
        remedy=_SAVE_TOKENIZER,
    )


def _from_file(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # The Rust side raises bare Exception for whatever is wrong with the file.
        raise BenchkitError(f"cannot read '{path}': {error}", remedy=_SAVE_TOKENIZER) from error


def _word_piece(folder: Path) -> Tokenizer:
    """Build BERT's tokenizer from its vocabulary.

    Source: transformers' conversion of BertTokenizer (convert_slow_tokenizer.BertConverter).
    """
    settings = _settings(folder, "tokenizer_config.json")
    unknown, cls, sep = (_token(settings, f"{name}_token", f"[{name.upper()}]") for name in ("unk", "cls", "sep"))
    words = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    vocabulary = {word: number for number, word in enumerate(words)}
    missing = [token for token in (unknown, cls, sep) if token not in vocabulary]
    if missing:
        raise BenchkitError(
            f"'{folder / 'vocab.txt'}' ({len(words):,} words) lacks {', '.join(missing)}", remedy=_SAVE_TOKENIZER
        )
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing((sep, vocabulary[sep]), (cls, vocabulary[cls]))
    backend.decoder = decoders.WordPiece()
    others = (_token(settings, f"{name}_token", f"[{name.upper()}]") for name in ("pad", "mask"))
    backend.add_special_tokens([token for token in (unknown, cls, sep, *others) if token in vocabulary])
    return backend


def _register_special(folder: Path, backend: Tokenizer) -> None:
    """Keep the special tokens that the folder's settings name from being split, as transformers does."""
    registered = {token.content for token in backend.get_added_tokens_decoder().values()}
    for settings in (_settings(folder, name) for name in _SPECIAL_FILES):
        named = (_token(settings, f"{name}_token", "") for name in _SPECIAL_NAMES)
        # One that is registered already may carry flags (RoBERTa's mask takes the space before it): leave it.
        backend.add_special_tokens(
            [token for token in named if token not in registered and backend.token_to_id(token) is not None]
        )


def _pad_id(folder: Path, backend: Tokenizer, config: dict[str, Any]) -> int:
    for name in _SPECIAL_FILES:
        token = _token(_settings(folder, name), "pad_token", "")
        number = backend.token_to_id(token) if token else None
        if number is not None:
            return int(number)
    if config.get("pad_token_id") is not None:
        return int(config["pad_token_id"])
    number = backend.token_to_id("[PAD]")
    if number is None:
        raise BenchkitError(
            f"the tokenizer in '{folder}' names no padding token",
            remedy="set pad_token in tokenizer_config.json or pad_token_id in config.json",
        )
    return int(number)


def _settings(folder: Path, name: str) -> dict[str, Any]:
    return read_json(folder / name) if (folder / name).is_file() else {}


def _token(settings: dict[str, Any], name: str, default: str) -> str:
    """Return a special token, which is a string or an object with `content`."""
    token = settings.get(name) or default
    return str(token["content"] if isinstance(token, dict) else token)


def _joined(rows: list[list[int]]) -> npt.NDArray[np.int64]:
    return np.fromiter((number for row in rows for number in row), dtype=np.int64)
