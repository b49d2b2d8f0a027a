"""Make an encoder of any small shape from nothing: random weights, and a vocabulary learned from the toy tasks.

Such an encoder knows nothing yet; `pretrain` and `finetune` teach it. The toy tasks are `tasks.toy`.
"""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import ToyEncoderRecipe
from benchkit.tasks.readers import read_split
from benchkit.tasks.table import TASKS
from benchkit.train.checkpoints import save_encoder
from benchkit.train.tokenizer_files import write_tokenizer

# The order gives [PAD] the id 0, as in BERT's own vocabulary.
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SETTINGS = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def make_toy_encoder(
    recipe: ToyEncoderRecipe, *, name: str, data: Path, out: Path, progress: Progress = silent
) -> None:
    """Fill `out` with a random BERT encoder and a WordPiece tokenizer.

    Encoders made from the same data with the same vocabulary size share one vocabulary, whatever their shapes.

    Args:
        recipe: Shape, vocabulary size and seed.
        name: Name of the artifact.
        data: Folder that holds the toy tasks.
        out: Existing empty folder.
        progress: Told what is going on.

    Raises:
        BenchkitError: No toy task in `data`, or a shape whose heads do not divide its width.
    """
    if recipe.hidden_size % recipe.heads:
        raise BenchkitError(
            f"{name}: hidden_size {recipe.hidden_size} is no multiple of heads {recipe.heads}",
            remedy="change one of them; 32 or 64 a head is usual",
        )
    progress(f"{name}: learning a vocabulary of {recipe.vocabulary_size}")
    tokenizer, sources = _learned_tokenizer(data, recipe.vocabulary_size)
    model = _random_encoder(recipe, tokenizer)
    save_encoder(model, out)
    write_tokenizer(tokenizer, _SETTINGS, out)
    write_manifest(
        out,
        kind="checkpoint",
        name=name,
        recipe={"step": "toy-encoder", **recipe.model_dump(mode="json")},
        weights="random",
        notes={
            "made_by": "benchkit from random weights; not a published model",
            "vocabulary_size": tokenizer.get_vocab_size(),
            "vocabulary_from": sources,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        },
    )
    progress(f"{name}: {recipe.layers} layers, {recipe.hidden_size} wide", 1.0)


def _learned_tokenizer(data: Path, vocabulary_size: int) -> tuple[Tokenizer, dict[str, str]]:
    """Learn WordPiece from the train text of every toy task; return it and the digest of each file."""
    tasks = [task for task in TASKS.values() if task.origin == "toy" and (data / task.folder).is_dir()]
    if not tasks:
        raise BenchkitError(
            f"no toy task in '{data}', and a toy encoder learns its vocabulary from them",
            remedy="let an experiment with toy data make them, or bring a pre-trained encoder",
        )
    splits = [read_split(task, "train", data) for task in tasks]
    texts = [text for split in splits for text in (*split.first, *(split.second or ()))]
    return _word_piece(texts, vocabulary_size), {split.source: split.sha256 for split in splits}


def _word_piece(texts: list[str], vocabulary_size: int) -> Tokenizer:
    """Learn a WordPiece tokenizer; the same texts give the same one."""
    tokenizer = _bert_tokenizer({})
    # The trainer numbers word-inner letters as it meets them, in the order of a hash table, and breaks ties
    # between merges by number: it learns another vocabulary in each run. Given beforehand they stay in order.
    letters = sorted({letter for text in texts for letter in tokenizer.normalizer.normalize_str(text)} - {" "})
    inner = [f"##{letter}" for letter in letters]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size, special_tokens=[*_SPECIAL, *inner], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _bert_tokenizer(tokenizer.get_vocab(with_added_tokens=True))


def _bert_tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    """Build BERT's tokenizer, lower-casing, from a vocabulary, or from none, to be trained."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if vocabulary:
        tokenizer.add_special_tokens(list(_SPECIAL))
        cls, sep = ((token, vocabulary[token]) for token in ("[CLS]", "[SEP]"))
        tokenizer.post_processor = processors.BertProcessing(sep, cls)
    return tokenizer


def _random_encoder(recipe: ToyEncoderRecipe, tokenizer: Tokenizer) -> Any:
    torch.manual_seed(recipe.seed)
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=recipe.intermediate_size,
        max_position_embeddings=recipe.max_positions,
        pad_token_id=tokenizer.token_to_id("[PAD]"),
    )
    return transformers.BertModel(config)
