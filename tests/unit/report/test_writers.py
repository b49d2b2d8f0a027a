# ruff: noqa: RUF001 - ranges are written with an en dash, as tables print them.
"""Terminal, Markdown, CSV and JSON draw the same cells."""

import csv
import io
import json
import os
from pathlib import Path

import pytest

from benchkit.core.errors import BenchkitError
from benchkit.report.contents import contents_of
from benchkit.report.markdown import report_text
from benchkit.report.rendering import FORMATS, render
from benchkit.report.tables import comparison
from benchkit.report.terminal import table_text

GOLDEN = Path(__file__).parents[2] / "golden" / "report.md"


@pytest.fixture(scope="module")
def table(make_study):
    return comparison(make_study(tasks=("sst2",), cells=((1, 32), (1, 128))))


@pytest.mark.parametrize("width", [80, 100, 120, 160, 200])
def test_no_line_is_wider_than_the_terminal(table, width):
    assert max(map(len, table_text(table, width=width, color=False).splitlines())) <= width


def test_short_names_leave_no_column_cut(make_profile, make_facts):
    """The first column has a least width: what it takes more than its text must be counted too."""
    shown = comparison([make_profile(make_facts(name)) for name in ("a", "b")])
    for width in range(80, 180):
        lines = table_text(shown, width=width, color=False).splitlines()
        rows = [line for line in lines if line.startswith(("a ", "b ", "★ a ", "★ b "))]
        assert len(rows) == 2
        assert all(row.endswith(("clean", "noisy", "void")) for row in rows), (width, rows)


def test_at_100_columns_the_essentials_stay(table):
    text = table_text(table, width=100, color=False)
    head = text[: text.index("─")]
    for title in ("artifact", "batch", "tokens", "task", "score", "p50", "p95", "noise"):
        assert title in head
    assert text.count("small-sst2-int8") == 2
    assert "dynamic-int8" in text
    assert "0.47–0.49" in text
    last = text[text.index("left out at this width") :]
    assert "peak memory" in last
    assert "--format csv" in last


def test_a_wide_terminal_shows_every_column(table):
    text = table_text(table, width=220, color=False)
    assert "left out" not in text
    assert "precision" in text
    assert "energy" in text


def test_colour_only_where_it_is_wanted(table, monkeypatch):
    assert "\x1b[" not in table_text(table, width=100)  # pytest's stdout is no terminal
    assert "\x1b[" in table_text(table, width=100, color=True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in table_text(table, width=100)


def test_csv_has_base_units_every_digit_and_no_invented_number(table, make_study):
    rows = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    assert len(rows) == len(table.rows)
    row = next(row for row in rows if row["artifact"] == "small-sst2" and row["sequence_length"] == "128")
    record = next(
        r
        for r in make_study(tasks=("sst2",), cells=((1, 32), (1, 128)))
        if r.kind == "profile" and r.artifact.name == "small-sst2" and r.cell.sequence_length == 128
    )
    p50 = record.statistic("latency", "p50")
    assert [float(row[f"latency_p50{bound}_s"]) for bound in ("", "_low", "_high")] == [p50.value, p50.low, p50.high]
    assert row["peak_memory_bytes"] == repr(190.0 * 2**20)
    assert row["artifact_size_bytes"] == str(42 * 2**20)
    assert row["energy_package_j"] == ""
    assert row["latency_p99_s"] == ""
    assert "CPU energy: not measured (no_powercap)" in row["notes"]
    assert (row["metric"], row["on_front"], row["record_id"]) == ("accuracy", "true", record.record_id)


def test_json_says_why_a_value_is_absent(table):
    value = json.loads(render(table, "json"))
    assert value["schema"] == "benchkit.table/1"
    assert value["rows"][0]["energy_package_j"]["value"] is None
    assert value["rows"][0]["energy_package_j"]["reason"].startswith("not measured (no_powercap)")
    assert value["rows"][0]["latency_p50_s"]["low"] < value["rows"][0]["latency_p50_s"]["value"]
    assert value["notes"] == list(table.notes)


def test_markdown_rows_have_as_many_cells_as_the_heading(table):
    lines = [line for line in render(table, "markdown").splitlines() if line.startswith("|")]
    assert len({line.count(" | ") for line in lines}) == 1
    assert len(lines) == len(table.rows) + 2


def test_every_format_is_text_that_ends_in_a_line_end(table):
    for name in FORMATS:
        assert render(table, name).endswith("\n")


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(BenchkitError) as caught:
        render(comparison([]), "markdwon")
    assert "did you mean 'markdown'" in caught.value.remedy


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_table_can_be_written(name):
    assert render(comparison([]), name)


def test_the_markdown_report_is_as_it_was(troubled, make_study):
    records = [*troubled, *make_study(tasks=("mrpc",), cells=((1, 128), (8, 128)))]
    text = report_text(contents_of(records, "Golden report"))
    if os.environ.get("BENCHKIT_RENEW_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "look at the difference; BENCHKIT_RENEW_GOLDEN=1 renews the file"
