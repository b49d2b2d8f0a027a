"""`make bench`: how fast fine-tuning is beside transformers' Trainer as it comes. Says which bars were met.

BENCHKIT_GLUE names a folder in the layout of the GLUE download; without it words of the toy task are strung together
to sentences of SST-2's lengths.
"""

import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.benchmark

ARCHITECTURE = "minilm-l6-h384"
THREADS, BATCH_SIZE, MAX_LENGTH = 2, 32, 128
# Padded to 128 every batch costs the same, so fewer of them tell as much.
EXAMPLES, PADDED_EXAMPLES, ROUNDS = 480, 64, 3
ARMS = ("ours", "dynamic", "padded")
MARK = "seen"
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


def encoder(folder: Path, texts: list[str]) -> Path:
    """Write random weights and a tokenizer learned from the texts."""
    from tokenizers.implementations import BertWordPieceTokenizer

    from benchkit.core.registry import STEPS

    folder.mkdir()
    STEPS.get("random-checkpoint")(ARCHITECTURE, name=ARCHITECTURE, out=folder)
    learned = BertWordPieceTokenizer()
    learned.train_from_iterator(texts, vocab_size=8000, show_progress=False)
    learned.save(str(folder / "tokenizer.json"))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


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


def serve(arm: str, folder: Path) -> None:
    """Train once for each line that comes, and answer with examples a second and the precision."""
    import torch
    import transformers

    _, texts, labels = examples()
    torch.set_num_threads(THREADS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    few = slice(0, PADDED_EXAMPLES if arm == "padded" else None)
    for _ in sys.stdin:
        if arm == "ours":
            per_s, precision = ours(folder, texts, labels)
        else:
            padding = "max_length" if arm == "padded" else "longest"
            per_s, precision = theirs(folder, tokenizer, texts[few], labels[few], padding=padding), "fp32"
        sys.stdout.write(f"{MARK} {per_s} {precision}\n")
        sys.stdout.flush()


@contextlib.contextmanager
def child(arm: str, folder: Path) -> Iterator[Callable[[], tuple[float, str]]]:
    """Give a function that trains once in a process of its own, which no other arm's settings reach."""
    command = [sys.executable, __file__, arm, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def once() -> tuple[float, str]:
            process.stdin.write("\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith(MARK):
                    _, per_s, precision = line.split()
                    return float(per_s), precision
            raise AssertionError(f"the process of arm '{arm}' ended")

        try:
            yield once
        finally:
            process.stdin.close()


def test_fine_tuning_beside_trainer(tmp_path: Path, tell: Tell) -> None:
    """Three arms in turn, on the same texts; each runs once before it is timed."""
    source, texts, _ = examples()
    folder = encoder(tmp_path / "encoder", texts)
    seen: dict[str, list[float]] = {arm: [] for arm in ARMS}
    precision = {}
    with contextlib.ExitStack() as stack:
        train = {arm: stack.enter_context(child(arm, folder)) for arm in ARMS}
        for number in range(ROUNDS + 1):
            for arm in ARMS:
                per_s, precision[arm] = train[arm]()
                if number:
                    seen[arm].append(per_s)
    middle = {arm: statistics.median(values) for arm, values in seen.items()}
    for arm, said, bar in (("dynamic", "dynamic padding", 3), ("padded", f"padding to {MAX_LENGTH}", 10)):
        ratios = [a / b for a, b in zip(seen["ours"], seen[arm], strict=True)]
        ratio = statistics.median(ratios)
        spread = f"{min(ratios):.2f}-{max(ratios):.2f} in {ROUNDS} rounds"
        tell(
            f"fine-tuning {ARCHITECTURE} on {source}, {THREADS} threads: {middle['ours']:.0f} examples/s "
            f"({precision['ours']}, grouped by length) beside Trainer with {said} in fp32, {middle[arm]:.0f}/s: "
            f"{ratio:.2f} x ({spread}), bar {bar} x: {met(ratio >= bar)}"
        )
    assert all(value > 0 for values in seen.values() for value in values)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
