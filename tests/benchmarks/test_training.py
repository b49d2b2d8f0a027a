"""`make bench`: how fast fine-tuning is beside transformers' Trainer as it comes. Says which bars were met.

BENCHKIT_GLUE names a folder in the layout of the GLUE download; without it words of the toy task are strung together
to sentences of SST-2's lengths.
"""

import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.benchmark

ARCHITECTURE = "minilm-l6-h384"
THREADS, BATCH_SIZE, MAX_LENGTH = 2, 32, 128
# Padded to 128 every batch costs the same, so fewer of them tell as much.
EXAMPLES, PADDED_EXAMPLES, ROUNDS = 480, 64, 3
Tell = Callable[[str], None]


def met(holds: bool) -> str:
    return "met" if holds else "MISSED"


def examples() -> tuple[str, list[str], list[int]]:
    """Where the texts are from, texts and labels."""
    rng = random.Random(0)
    if "BENCHKIT_GLUE" in os.environ:
        from benchkit.tasks.readers import read_split
        from benchkit.tasks.table import TASKS

        split = read_split(TASKS["sst2"], "train", Path(os.environ["BENCHKIT_GLUE"]))
        rows = rng.sample(range(len(split)), EXAMPLES)
        return "SST-2", [split.first[row] for row in rows], [int((split.labels or ())[row]) for row in rows]
    import tempfile

    from benchkit.tasks.readers import read_split
    from benchkit.tasks.table import TASKS
    from benchkit.tasks.toy import write_toy_tasks

    with tempfile.TemporaryDirectory() as folder:
        write_toy_tasks(Path(folder))
        words = " ".join(read_split(TASKS["toy-sentiment"], "train", Path(folder)).first).split()
    # Words a sentence in SST-2's train set: median 7, mean 9.4, at most 52.
    lengths = [min(52, max(1, round(rng.lognormvariate(1.95, 0.8)))) for _ in range(EXAMPLES)]
    return "toy words", [" ".join(rng.choices(words, k=n)) for n in lengths], [rng.randrange(2) for _ in lengths]


def encoder(folder: Path, texts: list[str]) -> Any:
    """Write random weights and a tokenizer learned from the texts; return it as transformers has it."""
    import transformers
    from tokenizers.implementations import BertWordPieceTokenizer

    from benchkit.core.registry import STEPS

    folder.mkdir()
    STEPS.get("random-checkpoint")(ARCHITECTURE, name=ARCHITECTURE, out=folder)
    learned = BertWordPieceTokenizer()
    learned.train_from_iterator(texts, vocab_size=8000, show_progress=False)
    learned.save(str(folder / "tokenizer.json"))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}
    return transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names)


def ours(folder: Path, texts: list[str], labels: list[int]) -> tuple[float, str]:
    """Examples a second of our loop, and the precision that it took."""
    from benchkit.tasks.readers import Examples
    from benchkit.tasks.table import TASKS
    from benchkit.tasks.tokenization import load_tokenizer
    from benchkit.train.batches import collator_for, features_of
    from benchkit.train.classifier import classifier_on
    from benchkit.train.loop import Schedule, train
    from benchkit.train.objectives import GoldObjective
    from benchkit.train.precision import resolved_precision

    task, tokenizer = TASKS["sst2"], load_tokenizer(folder)
    split = Examples(
        task="sst2", split="train", first=tuple(texts), second=None, labels=tuple(labels), source="", sha256=""
    )
    model, _ = classifier_on(folder, task, seed=0)
    precision = resolved_precision("auto", "cpu")
    schedule = Schedule(
        steps=len(texts) // BATCH_SIZE,
        batch_size=BATCH_SIZE,
        learning_rate=5e-5,
        warmup_steps=0,
        weight_decay=0.01,
        seed=0,
        precision=precision,
    )
    features = features_of(split, tokenizer, max_length=MAX_LENGTH)
    trained = train(
        model, features, collator_for(model, tokenizer, task), schedule, name="ours", objective=GoldObjective(task)
    )
    return len(texts) / trained.elapsed_s, precision


def theirs(folder: Path, tokenizer: Any, texts: list[str], labels: list[int], *, padding: str) -> float:
    """Examples a second of Trainer with its defaults, fp32, and batches of the same size."""
    import tempfile

    import transformers

    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    rows = [
        {"input_ids": ids, "labels": label}
        for ids, label in zip(
            tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"], labels, strict=True
        )
    ]
    collate = transformers.DataCollatorWithPadding(tokenizer, padding=padding, max_length=MAX_LENGTH)
    with tempfile.TemporaryDirectory() as out:
        arguments = transformers.TrainingArguments(
            output_dir=out,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH_SIZE,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)
        trainer.remove_callback(transformers.PrinterCallback)
        begin_s = time.perf_counter()
        trainer.train()
        return len(texts) / (time.perf_counter() - begin_s)


def test_fine_tuning_beside_trainer(tmp_path: Path, tell: Tell) -> None:
    """Three arms in turn, on the same texts; each runs once before it is timed."""
    import torch

    from benchkit.train.loop import cpu_threads
    from benchkit.train.quiet import quiet_libraries

    source, texts, labels = examples()
    tokenizer = encoder(tmp_path / "encoder", texts)
    folder, few = tmp_path / "encoder", slice(0, PADDED_EXAMPLES)
    precision = ""
    seen: dict[str, list[float]] = {"ours": [], "dynamic": [], "padded": []}
    with cpu_threads(THREADS), quiet_libraries():
        assert torch.get_num_threads() == THREADS
        for number in range(ROUNDS + 1):
            mine, precision = ours(folder, texts, labels)
            dynamic = theirs(folder, tokenizer, texts, labels, padding="longest")
            padded = theirs(folder, tokenizer, texts[few], labels[few], padding="max_length")
            if number:
                for name, per_s in (("ours", mine), ("dynamic", dynamic), ("padded", padded)):
                    seen[name].append(per_s)
    middle = {name: statistics.median(values) for name, values in seen.items()}
    for name, said, bar in (("dynamic", "dynamic padding", 3), ("padded", f"padding to {MAX_LENGTH}", 10)):
        ratios = [a / b for a, b in zip(seen["ours"], seen[name], strict=True)]
        ratio = statistics.median(ratios)
        told = (
            f"{ratio:.2f} x ({min(ratios):.2f}-{max(ratios):.2f} in {ROUNDS} rounds), bar {bar} x: {met(ratio >= bar)}"
        )
        tell(
            f"fine-tuning {ARCHITECTURE} on {source}, {THREADS} threads: {middle['ours']:.0f} examples/s ({precision}, "
            f"grouped by length) beside Trainer with {said} in fp32, {middle[name]:.0f}/s: {told}"
        )
    assert all(value > 0 for values in seen.values() for value in values)
