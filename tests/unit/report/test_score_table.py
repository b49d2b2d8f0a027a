"""Scores by task: seeds into mean and spread, the average of nine tasks, subsets marked, batches told."""

import statistics

import pytest

from benchkit.core.records import Measured, NotMeasured, Statistic
from benchkit.report.contents import contents_of
from benchkit.report.entries import entries_of
from benchkit.report.findings import findings_of
from benchkit.report.score_table import score_table
from benchkit.tasks.table import TASKS

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")


@pytest.fixture
def scored(builders, make_facts):
    """A score record with every metric of its task, as `score` makes it."""

    def make(candidate, task, *values, seed=None, precision="fp32", split="validation", details=None):
        name = f"{candidate}-{task}-{seed}-{precision}"
        metrics = TASKS[task].metrics if task in TASKS else ("f1", "accuracy")
        figures = {
            metric: Statistic(value=value, low=value - 0.02, high=value + 0.02, n=100)
            for metric, value in zip(metrics, values, strict=False)
        }
        told = {"headline": metrics[0], "metrics": list(metrics)} | (details or {})
        return builders.sealed_record(
            kind="score",
            artifact=make_facts(name, candidate=candidate, seed=seed, precision=precision, task=task),
            cell={
                "runtime": "onnxruntime",
                "device": "cpu",
                "provider": "CPUExecutionProvider",
                "threads": 1,
                "batch_size": 1,
                "scenario": "score",
                "task": task,
                "split": split,
            },
            measurements={"score": Measured(unit="ratio", statistics=figures, details=told)},
        )

    return make


def cell(table, row, key):
    return table.rows[row].cells[[column.key for column in table.columns].index(key)]


def test_one_row_a_candidate_and_every_metric_of_a_task(scored):
    table = score_table([scored("small", "sst2", 0.85), scored("small", "mrpc", 0.79, 0.70)])
    assert [column.key for column in table.columns] == ["artifact", "precision", "sst2", "mrpc"]
    assert len(table.rows) == 1
    assert cell(table, 0, "mrpc").text == "79.0 / 70.0"
    assert (cell(table, 0, "sst2").text, cell(table, 0, "sst2").below) == ("85.0", "83.0\u201387.0")


def test_seeds_become_mean_and_spread(scored):
    values = (0.80, 0.84, 0.88)
    table = score_table([scored("small", "rte", value, seed=seed) for seed, value in enumerate(values)])
    found = cell(table, 0, "rte")
    assert found.value == pytest.approx(statistics.fmean(values))
    assert (found.text, found.below) == ("84.0", "±4.0, 3 seeds")
    assert found.low is None
    assert "sample standard deviation" in table.notes[0]


def test_two_artifacts_of_one_seed_are_not_averaged(scored, make_facts):
    first, second = scored("small", "rte", 0.6, seed=0), scored("small", "rte", 0.7, seed=0)
    renamed = second.model_copy(update={"artifact": make_facts("other", candidate="small", seed=0, task="rte")})
    renamed = renamed.model_copy(update={"record_id": "another"})
    table = score_table([first, renamed])
    assert [row.cells[0].text for row in table.rows] == ["other", "small-rte-0-fp32"]


def test_the_average_is_of_nine_tasks_each_the_mean_of_its_metrics_mnli_of_both_halves(scored):
    records = [scored("large", task, 0.5, 0.7) for task in GLUE]
    without = score_table(records)
    assert cell(without, 0, "glue").text == "—"
    assert "mnli-mm" in cell(without, 0, "glue").note
    table = score_table([*records, scored("large", "mnli", 0.9, split="validation_mismatched", seed=None)])
    by_task = [0.6 if len(TASKS[task].metrics) == 2 else 0.5 for task in GLUE]
    by_task[GLUE.index("mnli")] = (0.5 + 0.9) / 2
    assert cell(table, 0, "glue").value == pytest.approx(statistics.fmean(by_task))
    assert cell(table, 0, "glue_without_wnli").value == pytest.approx(statistics.fmean(by_task[:-1]))
    assert cell(table, 0, "mnli-mm").text == "90.0"


def test_a_subset_is_marked_wherever_its_score_stands(scored):
    data = {"source": "QQP/dev.tsv", "rows": 4000, "official_rows": 40430, "state": "subset", "sha256": "0"}
    record = scored("small", "qqp", 0.8, 0.85, details={"data": data})
    table = score_table([record])
    assert cell(table, 0, "qqp").text == "80.0 / 85.0*"
    assert "subset" in cell(table, 0, "qqp").below
    assert any("4,000 of 40,430 rows" in note for note in table.notes)
    contents = contents_of([record], "x")
    assert any("4,000 of 40,430 rows" in note for note in contents.table.notes)
    assert "(a subset of its data)" in findings_of(entries_of([record])).answers[0]


def test_what_other_batches_change_is_said_and_rounding_is_not(scored):
    batching = {"sample": 64, "batched": 8, "max_logit_difference": 0.31, "changed_answers": 2}
    [note] = score_table([scored("small", "sst2", 0.8, details={"batching": batching})]).notes
    assert "logits by up to 0.31, 2 of 64 answers of sst2" in note
    same = batching | {"max_logit_difference": 3e-6, "changed_answers": 0}
    assert score_table([scored("small", "sst2", 0.8, details={"batching": same})]).notes == ()


def test_a_score_without_labels_is_an_absence_with_its_reason(scored):
    measurements = {"score": NotMeasured(reason="no_labels", detail="SST-2/test.tsv has no labels")}
    record = scored("small", "sst2", 0.8).model_copy(update={"measurements": measurements})
    found = cell(score_table([record]), 0, "sst2")
    assert (found.text, found.value) == ("—", None)
    assert found.note == "SST-2/test.tsv has no labels"


def test_own_tasks_stand_after_those_of_glue_with_their_own_metrics(scored):
    table = score_table([scored("a", "tickets", 0.5, 0.6), scored("a", "wnli", 0.56)])
    assert [column.key for column in table.columns][2:] == ["wnli", "tickets"]
    assert table.columns[3].unit == "f1 / accuracy, %"


def test_the_page_has_the_table_only_where_it_says_more_than_the_comparison(scored):
    assert contents_of([scored("a", "sst2", 0.8)], "x").scores is None
    assert contents_of([scored("a", "sst2", 0.8, seed=seed) for seed in (0, 1)], "x").scores is not None
    assert contents_of([], "x").scores is None
