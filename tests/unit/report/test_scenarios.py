"""Rows of several scenarios, loads and paddings in one table: told apart, and nothing invented for what they lack."""

import pytest

from benchkit.core.records import Noise, NotMeasured
from benchkit.report.rendering import render
from benchkit.report.tables import comparison
from benchkit.report.terminal import table_text

VOID = Noise(verdict="invalid", reasons=("other processes used 90% of a core",))


def by_key(table, number=0):
    return {column.key: cell for column, cell in zip(table.columns, table.rows[number].cells, strict=True)}


def keys(table):
    return [column.key for column in table.columns]


@pytest.fixture
def mixed(builders):
    artifact = builders.facts("a")
    return [
        builders.profile(artifact),
        builders.served(artifact, cell={"load": 0.5}),
        builders.served(artifact, cell={"rate_per_s": 40.0}),
        builders.served(artifact, cell={"p99_at_most_s": 0.02}),
        builders.served(artifact, cell={"scenario": "offline"}),
    ]


def test_a_closed_loop_alone_shows_no_columns_of_load(builders):
    shown = keys(comparison([builders.profile(builders.facts("a"))]))
    assert not {"scenario", "load", "padding", "lengths_from", "response_time_p99", "sustained_rate"} & set(shown)
    assert "latency_p50" in shown


def test_loads_are_told_in_words_and_in_numbers(mixed):
    table = comparison(mixed)
    cells = [by_key(table, number) for number in range(len(mixed))]
    assert {cell["load"].text for cell in cells} == {"—", "50 % of capacity", "40/s", "largest under p99 20 ms"}
    assert {cell["rate_per_s"].value for cell in cells} == {None, 40.0}
    assert {cell["load_share"].value for cell in cells} == {None, 0.5}
    assert {cell["p99_at_most_s"].value for cell in cells} == {None, 0.02}
    assert not any("which is not a column" in note for note in table.notes)


def test_what_a_scenario_does_not_have_is_absent_with_its_reason(mixed):
    table = comparison(mixed)
    rows = [by_key(table, number) for number in range(len(mixed))]
    server = next(row for row in rows if row["load"].text == "50 % of capacity")
    assert (server["latency_p50"].text, server["latency_p50"].value) == ("—", None)
    assert server["latency_p50"].note == "not part of scenario server"
    assert server["response_time_p50"].value is not None
    assert server["sustained_rate"].note == "not looked for: --find-max looks for it"
    closed = next(row for row in rows if row["scenario"].text == "single-stream")
    assert closed["response_time_p99"].note == "not part of scenario single-stream"
    found = next(row for row in rows if row["load"].text.startswith("largest"))
    assert found["sustained_rate"].text == "340"


def test_void_stands_only_where_something_was_measured(builders, no_energy):
    artifact = builders.facts("a")
    records = [
        builders.served(artifact, cell={"load": 0.5}, noise=VOID),
        builders.profile(artifact, noise=VOID, measurements={"peak_memory": no_energy}),
    ]
    table = comparison(records)
    server, closed = sorted((by_key(table, n) for n in (0, 1)), key=lambda row: row["scenario"].text)
    assert server["latency_p50"].text == "—"
    assert server["response_time_p50"].text == server["throughput"].text == "void"
    assert "other processes used 90% of a core; the instrument read" in server["response_time_p50"].note
    assert closed["latency_p50"].text == "void"
    assert closed["peak_memory"].text == "—"
    assert closed["peak_memory"].note.startswith("not measured (no_powercap)")


def test_a_crashed_cell_says_why_and_has_no_figure(builders):
    failed = NotMeasured(reason="worker_failed", detail="killed by signal 9", remedy="more memory")
    names = ("latency", "throughput", "peak_memory", "cpu_time")
    record = builders.profile(builders.facts("a"), noise=VOID, measurements=dict.fromkeys(names, failed))
    row = by_key(comparison([record]))
    for key in ("latency_p50", "throughput", "peak_memory"):
        assert (row[key].text, row[key].value) == ("—", None)
        assert row[key].note == "not measured (worker_failed): killed by signal 9; fix: more memory"


def test_rows_that_differ_only_in_padding_are_told_apart_everywhere(builders):
    artifact = builders.facts("a")
    noise = Noise(verdict="noisy", reasons=("a neighbour",))
    records = [
        builders.profile(
            artifact,
            cell={"padding": padding, "lengths_from": "sst2"},
            measurements={"padding_waste": builders.one("ratio", "value", waste)},
            noise=noise,
        )
        for padding, waste in (("max", 0.6), ("longest", 0.2))
    ]
    table = comparison(records)
    assert sorted(by_key(table, n)["padding"].text for n in (0, 1)) == ["longest", "max"]
    assert sorted(by_key(table, n)["padding_waste"].text for n in (0, 1)) == ["20.0", "60.0"]
    (note,) = [note for note in table.notes if note.startswith("noisy")]
    assert "a (batch 1, 128 tokens, padding max)" in note
    assert "a (batch 1, 128 tokens, padding longest)" in note


def test_fixed_lengths_have_no_column_of_padding_waste(builders):
    record = builders.profile(builders.facts("a"), measurements={"padding_waste": builders.one("ratio", "value", 0.0)})
    assert "padding_waste" not in keys(comparison([record]))


def test_energy_shows_gross_with_net_beneath(builders):
    row = by_key(comparison([builders.profile(builders.facts("a"), measurements=builders.thorough())]))
    cell = row["energy_package"]
    assert cell.text == "12.3"
    assert cell.below.endswith(", net 4.50")
    assert "powercap, CPU package, whole machine" in cell.note


def test_cold_and_warm_starts_stand_side_by_side(builders):
    row = by_key(comparison([builders.profile(builders.facts("a"), measurements=builders.thorough())]))
    assert (row["cold_start"].text, row["cold_start_warm_median"].text) == ("214", "195")
    assert row["roofline_share"].text == "50"


def test_cores_and_copies_have_columns_where_they_vary(builders):
    artifact = builders.facts("a")
    table = comparison([builders.profile(artifact, cell={"affinity": cores}) for cores in ((0, 1), None)])
    assert sorted(by_key(table, n)["affinity"].text for n in (0, 1)) == ["0,1", "not bound"]
    table = comparison([builders.profile(artifact, cell={"transfers": timed}) for timed in (True, False)])
    assert sorted(by_key(table, n)["transfers"].text for n in (0, 1)) == ["not timed", "timed"]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_narrow_terminal_keeps_what_tells_rows_apart_and_what_they_are_judged_by(mixed, width):
    text = table_text(comparison(mixed), width=width, color=False)
    assert max(map(len, text.splitlines())) <= width
    head = text[: text.index("─")]
    assert "latency" in head
    assert "response" in head
    told = " ".join(text.split())
    for words in ("50 %", "40/s", "largest", "offline"):
        assert words in told


def test_every_format_takes_the_mixed_table(mixed):
    for name in ("json", "csv", "markdown"):
        assert "50 % of capacity" in render(comparison(mixed), name)
