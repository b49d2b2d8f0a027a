"""`make bench`: how fast and in how much memory a data set is scored. Says which bars were met.

Texts are SST-2's dev set where the real files are, else words of the toy task strung to sentences of its lengths.
"""

import importlib.util
import json
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.benchmark

TARGET = "arch:minilm-l6-h384"
THREADS, BATCH_SIZE, MAX_LENGTH, ROUNDS = 2, 32, 128, 5
ROWS = 1_000_000
Tell = Callable[[str], None]


def met(holds: bool) -> str:
    return "met" if holds else "MISSED"


@pytest.fixture(scope="module")
def texts(request: pytest.FixtureRequest) -> tuple[str, tuple[str, ...]]:
    """Where the texts are from, and 872 of them."""
    from benchkit.tasks.readers import read_split
    from benchkit.tasks.table import task_named
    from benchkit.tasks.toy_words import BAD, GOOD

    try:
        folder = request.getfixturevalue("glue")
    except pytest.skip.Exception:
        rng = random.Random(0)
        # Words a sentence in SST-2's dev set: median 19, mean 19.5, at most 47.
        lengths = [min(47, max(2, round(rng.gauss(19.5, 8.7)))) for _ in range(872)]
        return "toy words", tuple(" ".join(rng.choices(GOOD + BAD, k=length)) for length in lengths)
    return "SST-2 dev", read_split(task_named("sst2"), "validation", folder).first


@pytest.fixture(scope="module")
def encoder(texts: tuple[str, tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a 6-layer 384-wide classifier with random weights and a tokenizer learned from the texts."""
    from tokenizers.implementations import BertWordPieceTokenizer

    from benchkit.bench.targets import resolve

    folder = tmp_path_factory.mktemp("encoder")
    shutil.copytree(resolve(TARGET, runtime="onnxruntime").path, folder, dirs_exist_ok=True)
    (folder / "artifact.json").unlink()
    learned = BertWordPieceTokenizer()
    learned.train_from_iterator(texts[1], vocab_size=8000, show_progress=False)
    learned.save(str(folder / "tokenizer.json"))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MAX_LENGTH}
    (folder / "tokenizer_config.json").write_text(json.dumps(names | about))
    return folder


def as_optimum_does(folder: Path) -> Callable[[tuple[str, ...]], None]:
    """Return transformers' own pipeline over optimum's model of the same file."""
    import onnxruntime
    import transformers
    from optimum.onnxruntime import ORTModelForSequenceClassification

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    model = ORTModelForSequenceClassification.from_pretrained(folder, session_options=options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, batch_size=BATCH_SIZE)
    return lambda texts: list(pipeline(list(texts), truncation=True, max_length=MAX_LENGTH)) and None


def as_a_loop_does(folder: Path) -> Callable[[tuple[str, ...]], None]:
    """Return what that pipeline does, without it: batches in the order of the file, padded to the longest."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    wanted = [item.name for item in session.get_inputs()]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]"))

    def run(texts: tuple[str, ...]) -> None:
        for start in range(0, len(texts), BATCH_SIZE):
            encodings = tokenizer.encode_batch(list(texts[start : start + BATCH_SIZE]))
            feed = {
                "input_ids": [encoding.ids for encoding in encodings],
                "attention_mask": [encoding.attention_mask for encoding in encodings],
                "token_type_ids": [encoding.type_ids for encoding in encodings],
            }
            session.run(None, {name: np.array(feed[name], dtype=np.int64) for name in wanted})

    return run


def as_benchkit_does(folder: Path) -> Callable[[tuple[str, ...]], Any]:
    """Return our scoring with its defaults, through the door that `benchkit score` takes."""
    from benchkit.bench.score import ScoreSettings, score_examples
    from benchkit.core.artifacts import load_artifact
    from benchkit.tasks.readers import Examples
    from benchkit.tasks.table import task_named

    artifact, task = load_artifact(folder), task_named("sst2")

    def run(texts: tuple[str, ...]) -> Any:
        labels = tuple(row % 2 for row in range(len(texts)))
        examples = Examples(
            task="sst2", split="validation", first=texts, second=None, labels=labels, source="", sha256=""
        )
        settings = ScoreSettings(threads=THREADS, max_length=MAX_LENGTH)
        return score_examples(artifact, task, examples, settings).scored

    return run


def test_scoring_beside_a_pipeline(texts: tuple[str, tuple[str, ...]], encoder: Path, tell: Tell) -> None:
    has_optimum = importlib.util.find_spec("optimum") and importlib.util.find_spec("optimum.onnxruntime")
    theirs = as_optimum_does(encoder) if has_optimum else as_a_loop_does(encoder)
    ours = as_benchkit_does(encoder)
    where, sentences = texts
    theirs(sentences[:64])
    rates: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(ROUNDS):
        begin_s = time.perf_counter()
        theirs(sentences)
        rates["theirs"].append(len(sentences) / (time.perf_counter() - begin_s))
        scored = ours(sentences)
        rates["ours"].append(scored.examples_per_s)
    ratio = statistics.median(ours / theirs for theirs, ours in zip(*rates.values(), strict=True))
    name = (
        "transformers.pipeline over ORTModelForSequenceClassification" if has_optimum else "a loop that does the same"
    )
    about = f"{where}, {len(sentences):,} sentences, 6 layers of 384, fp32, {THREADS} threads"
    batching = scored.batching_details()
    how = f"calls of up to {batching['batch_tokens']} tokens, {batching['calls_at_once']} at once, "
    how += f"{scored.padding_waste:.1%} padding"
    tell(
        f"scoring {about}: {statistics.median(rates['ours']):.0f} examples/s ({how}) "
        f"beside {statistics.median(rates['theirs']):.0f} of {name} with batch {BATCH_SIZE}: "
        f"{ratio:.2f} x over {ROUNDS} rounds, bar 2.5 x: {met(ratio >= 2.5)}"
    )
    assert scored.effect.max_logit_difference < 1e-5


CHILD = """
import json, sys
from pathlib import Path
from benchkit.bench.score import ScoreSettings, score
from benchkit.core.artifacts import load_artifact
from benchkit.meters.memory import peak_memory
from benchkit.tasks.own import Columns, task_from
artifact = load_artifact(Path(sys.argv[1]))
task = task_from(sys.argv[2], columns=Columns(text="text", labels=("negative", "positive")))
record = score(artifact, task, Path("."), ScoreSettings(threads=2), predictions=Path(sys.argv[3]))
found = record.measurements["score"]
print(json.dumps([peak_memory().peak_bytes, artifact.size_bytes, found.details["data"]["rows"], record.elapsed_s]))
"""


def test_memory_of_scoring_a_million_rows(pico_onnx: Path, tmp_path: Path, tell: Tell) -> None:
    """A small model, so that its own memory hides nothing: all but 300 MB would be the data's."""
    words = ("a", "bad", "good", "film", "is", "movie", "not", "the", "this", "very", ".", "!")
    rng = random.Random(0)
    with (tmp_path / "rows.jsonl").open("w") as file:
        for row in range(ROWS):
            text = " ".join(rng.choices(words, k=rng.randint(1, 40)))
            file.write(json.dumps({"text": text, "label": row % 2}) + "\n")
    command = [sys.executable, "-c", CHILD, str(pico_onnx), str(tmp_path / "rows.jsonl"), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak_bytes, size_bytes, rows, elapsed_s = json.loads(done.stdout)
    bar_bytes = 2 * size_bytes + 300e6
    tell(
        f"scoring {rows:,} rows: peak memory {peak_bytes / 1e6:.0f} MB, bar {bar_bytes / 1e6:.0f} MB: "
        f"{met(peak_bytes < bar_bytes)}; {rows / elapsed_s:,.0f} examples/s of a model of {size_bytes / 1e6:.1f} MB"
    )
    assert rows == ROWS
