"""The comparison: joins, columns, what is announced, what is void, and its order."""

import random

from benchkit.core.records import Measured, Noise, Statistic
from benchkit.report.tables import comparison


def cells(table, key):
    number = [column.key for column in table.columns].index(key)
    return [row.cells[number] for row in table.rows]


def texts(table, key):
    return [cell.text for cell in cells(table, key)]


def test_one_row_for_each_artifact_and_cell_joined_with_its_own_score(make_study):
    records = make_study(tasks=("sst2", "mrpc"), cells=((1, 32), (8, 128)))
    table = comparison(records)
    assert len(table.rows) == sum(record.kind == "profile" for record in records) == 28
    by_name = dict(zip(texts(table, "artifact"), cells(table, "score"), strict=True))
    assert by_name["★ small-sst2"].text == "90.8"
    assert by_name["★ small-sst2"].value == 0.908
    assert by_name["merged-mrpc"].text == "86.8"
    assert by_name["bert-base"].text == "not scored"
    assert by_name["bert-base"].note == "not scored: random weights"


def test_the_order_of_the_records_does_not_matter(make_study):
    records = make_study(tasks=("sst2",))
    shuffled = random.Random(3).sample(records, len(records))
    assert comparison(shuffled + records[:3]) == comparison(records)


def test_an_artifact_without_profile_keeps_its_row(make_facts, make_score):
    table = comparison([make_score(make_facts("scored-only"), "sst2", 0.9)])
    assert texts(table, "artifact") == ["scored-only"]
    assert texts(table, "latency_p50") == ["—"]
    assert cells(table, "latency_p50")[0].note == "not profiled"
    assert texts(table, "score") == ["90.0"]


def test_an_artifact_without_score_is_said_to_be_not_scored(make_facts, make_profile):
    table = comparison([make_profile(make_facts("a"))])
    assert [cell.note for cell in cells(table, "score")] == ["not scored"]
    assert "task" not in [column.key for column in table.columns]


def test_a_void_row_stays_and_shows_no_figure(troubled):
    table = comparison(troubled)
    row = next(row for row in table.rows if row.state == "void")
    by_key = {column.key: cell for column, cell in zip(table.columns, row.cells, strict=True)}
    assert by_key["artifact"].text == "broken"
    assert by_key["latency_p50"].text == "void"
    assert by_key["latency_p50"].value is None
    assert "same answer" in by_key["latency_p50"].note
    assert by_key["noise"].text == "void"
    assert not row.on_front
    assert any(note.startswith("void: broken (batch 1, 128 tokens): the model gives") for note in table.notes)


def test_a_noisy_row_is_shown_with_its_reason(troubled):
    table = comparison(troubled)
    row = next(row for row in table.rows if row.state == "noisy")
    assert row.on_front
    assert any("other processes used 12% of a core" in note for note in table.notes)


def test_what_was_not_measured_is_an_em_dash_with_its_reason(make_facts, make_profile):
    table = comparison([make_profile(make_facts("a"))])
    (energy,), (p99,) = cells(table, "energy_package"), cells(table, "latency_p99")
    assert (energy.text, energy.value, energy.tone) == ("—", None, "absent")
    assert energy.note.startswith("not measured (no_powercap): /sys/class/powercap does not exist")
    assert p99.note.startswith("p99 needs 299 independent values")
    assert any(note.startswith("CPU energy was not measured in the only row (no_powercap)") for note in table.notes)


def test_a_setting_that_varies_becomes_a_column(make_facts, make_profile):
    artifact = make_facts("a")
    table = comparison([make_profile(artifact, cell={"threads": threads}) for threads in (1, 4)])
    assert sorted(texts(table, "threads")) == ["1", "4"]
    assert not any("differ in threads" in note for note in table.notes)
    assert "runtime" not in [column.key for column in table.columns]


def test_hidden_differences_are_announced(make_facts, make_profile):
    a, b = make_facts("a"), make_facts("b")
    host = make_profile(a).host
    newer = host.model_copy(update={"versions": dict(host.versions, onnxruntime="1.33.0"), "kernel": "6.2.0"})
    records = [
        make_profile(a, cell={"inter_op_threads": 2, "stream": "high"}),
        make_profile(b, cell={"stream": "low"}, host=newer, seed=7),
    ]
    notes = comparison(records).notes
    for name, values in {
        "inter_op_threads": "1, 2",
        "stream": "low, high",
        "kernel": "6.1.0, 6.2.0",
        "seed": "0, 7",
        "the version of onnxruntime": "1.32.0, 1.33.0",
    }.items():
        assert f"these 2 records differ in {name} ({values}), which is not a column" in notes


def test_two_hosts_get_a_column_and_are_not_mixed(make_facts, make_profile, make_score):
    a, b = make_facts("a"), make_facts("b")
    other = make_profile(a).host.model_copy(update={"id": "ffff00000000", "cpu_model": "Apple M4"})
    records = [
        make_profile(a, median_s=0.004),
        make_profile(b, median_s=0.002, host=other),
        make_score(a, "sst2", 0.8),
        make_score(b, "sst2", 0.9),
    ]
    table = comparison(records)
    assert sorted(texts(table, "host")) == ["4f2a90c1d3e7", "ffff00000000"]
    assert not any(row.on_front for row in table.rows)
    assert not any("cpu_model" in note for note in table.notes)
    assert "the score of b was taken on another host or runtime than the latency" in table.notes


def test_artifacts_that_share_a_name_are_told_apart(make_facts, make_profile):
    records = [make_profile(make_facts("same", id=name)) for name in ("aaaaaaaaaaaa", "bbbbbbbbbbbb")]
    assert sorted(texts(comparison(records), "artifact")) == ["same (aaaaaaaa)", "same (bbbbbbbb)"]


def test_a_cell_measured_twice_has_two_rows_and_a_note(make_facts, make_profile):
    artifact = make_facts("a")
    records = [make_profile(artifact, median_s=median_s) for median_s in (0.004, 0.005)]
    table = comparison(records)
    assert len(table.rows) == 2
    assert "a (batch 1, 128 tokens) was profiled 2 times; each time has its own row" in table.notes


def test_the_newest_valid_score_is_taken(make_facts, make_profile, make_score):
    artifact = make_facts("a")
    records = [
        make_profile(artifact),
        make_score(artifact, "sst2", 0.90, started_at_utc="2026-01-01T00:00:00Z"),
        make_score(artifact, "sst2", 0.91, started_at_utc="2026-01-02T00:00:00Z"),
        make_score(artifact, "sst2", 0.50, started_at_utc="2026-01-03T00:00:00Z", noise=Noise(verdict="invalid")),
    ]
    assert texts(comparison(records), "score") == ["91.0"]


def test_several_tasks_share_a_cell(make_facts, make_profile, make_score):
    artifact = make_facts("a")
    table = comparison([make_profile(artifact), make_score(artifact, "sst2", 0.9), make_score(artifact, "mrpc", 0.8)])
    assert texts(table, "task") == ["mrpc / sst2"]
    assert texts(table, "score") == ["80.0 / 90.0"]
    assert "accuracy 77.0 %" in cells(table, "score")[0].note


def test_a_score_that_could_not_be_computed_says_why(make_facts, make_score, no_energy):
    record = make_score(make_facts("a"), "sst2", 0.9)
    undefined = Measured(
        unit="ratio", statistics={"accuracy": Statistic(value=None, n=10, reason="accuracy is undefined: no labels")}
    )
    table = comparison([record.model_copy(update={"measurements": {"score": undefined}})])
    assert texts(table, "score") == ["not scored"]
    assert "accuracy is undefined: no labels" in cells(table, "score")[0].note


def test_a_rare_quantity_has_a_column_only_where_it_was_measured(make_facts, make_profile, no_energy):
    without = comparison([make_profile(make_facts("a"), measurements={"cold_start": no_energy})])
    assert "cold_start" not in [column.key for column in without.columns]
    cold = Measured(unit="s", statistics={"median": Statistic(value=1.5, low=1.4, high=1.6, n=5)})
    table = comparison([make_profile(make_facts("a"), measurements={"cold_start": cold})])
    assert texts(table, "cold_start") == ["1,500"]


def test_no_records_give_an_empty_table():
    table = comparison([])
    assert table.rows == ()


def test_runs_disturbed_alike_are_one_sentence(make_facts, make_profile):
    reasons = [f"run {k}: other processes used {share}% of a core" for k, share in ((1, 9), (2, 117), (3, 40))]
    records = [
        make_profile(make_facts(name), noise=Noise(verdict="invalid", reasons=tuple(reasons[: 4 - k])))
        for k, name in ((1, "a"), (2, "b"))
    ]
    (note,) = [note for note in comparison(records).notes if note.startswith("void")]
    both = "a (batch 1, 128 tokens) and b (batch 1, 128 tokens)"
    assert note == f"void: {both}: other processes used 9\u2013117% of a core"
