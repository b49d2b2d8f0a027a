"""Bring a tokenizer into a checkpoint folder, so that every reader of the folder cuts text the same way.

Cutting text is left to `tasks.tokenization`.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer

from benchkit.core.architectures import position_limit
from benchkit.core.errors import BenchkitError
from benchkit.core.json_files import read_json
from benchkit.tasks.tokenization import check_vocabulary, load_tokenizer
from benchkit.train.checkpoints import write_json
from benchkit.train.quiet import quiet_libraries

_CONFIG = "tokenizer_config.json"
# Habits of one use (sentence-transformers pads everything to 128), and traces of where a file lay.
_LEFT_OUT = {
    "max_length",
    "padding",
    "padding_side",
    "pad_to_multiple_of",
    "stride",
    "truncation",
    "truncation_side",
    "truncation_strategy",
    "name_or_path",
    "local_files_only",
    "is_local",
}


def has_tokenizer(folder: Path) -> bool:
    """Tell whether the folder holds a tokenizer."""
    return (folder / "tokenizer.json").is_file() or (folder / "vocab.txt").is_file()


def bring_tokenizer(source: Path, out: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and, for WordPiece, vocab.txt.

    Padding and truncation that were saved into the files are taken out.

    Args:
        source: Folder with tokenizer.json or vocab.txt.
        out: Checkpoint folder; its config.json is there already.

    Raises:
        BenchkitError: A damaged tokenizer, or one whose vocabulary does not fit the model in `out`.
    """
    load_tokenizer(source)
    if (source / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    else:
        # By the name that both transformers 4 and 5 have for the tokenizer that has a backend to save.
        library: Any = transformers
        with quiet_libraries():
            tokenizer = library.BertTokenizerFast.from_pretrained(source, local_files_only=True).backend_tokenizer
    settings = read_json(source / _CONFIG) if (source / _CONFIG).is_file() else {"tokenizer_class": "BertTokenizer"}
    if (source / "special_tokens_map.json").is_file():
        settings = read_json(source / "special_tokens_map.json") | settings
    write_tokenizer(tokenizer, settings, out)
    if (source / "vocab.txt").is_file():
        shutil.copyfile(source / "vocab.txt", out / "vocab.txt")


def write_tokenizer(tokenizer: Tokenizer, settings: dict[str, Any], out: Path) -> None:
    """Write a tokenizer and check it against the config.json that `out` holds already.

    Args:
        tokenizer: Any tokenizer; padding and truncation are switched off.
        settings: What tokenizer_config.json is to say.
        out: Checkpoint folder.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # Not tokenizer.save, whose errors are bare Exceptions.
    (out / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    config = read_json(out / "config.json")
    kept = {key: value for key, value in settings.items() if key not in _LEFT_OUT}
    limits = [kept.get("model_max_length"), position_limit(config)]
    known = [limit for limit in limits if limit is not None]
    write_json(out / _CONFIG, kept | ({"model_max_length": min(known)} if known else {}))
    _write_vocabulary(tokenizer, out)
    check_vocabulary(out)


def _write_vocabulary(tokenizer: Tokenizer, out: Path) -> None:
    """Write vocab.txt, which other programs read, when the tokenizer is WordPiece."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("type") != "WordPiece":
        return
    words = sorted(model["vocab"], key=model["vocab"].__getitem__)
    if [model["vocab"][word] for word in words] != list(range(len(words))):
        raise BenchkitError(
            "the tokenizer's vocabulary has gaps in its numbers", remedy="give the tokenizer the model was trained with"
        )
    (out / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
