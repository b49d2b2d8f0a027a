"""The report folder: same records, same bytes; within its size; and what happens without the extra `report`."""

import base64
import hashlib
import html
import json
import os
import re
import subprocess
import sys

import pytest

from benchkit.core.errors import EnvironmentLacks
from benchkit.core.records import Noise
from benchkit.core.store import append_lines
from benchkit.report import html as html_module
from benchkit.report import page as page_module
from benchkit.report.details import MANY_ROWS
from benchkit.report.page import why_no_page, write_report

CHILD = """
import sys
from pathlib import Path
from benchkit.core.store import read_records
from benchkit.report.page import write_report
records = list(read_records(Path(sys.argv[1])))
write_report(records[::-1], Path(sys.argv[2]), title="Same")
"""


def test_the_same_records_give_the_same_bytes_in_any_process_and_order(make_study, tmp_path):
    records = make_study(tasks=("sst2",), cells=((1, 32), (1, 128)))
    paths = write_report(records, tmp_path / "a", title="Same")
    write_report(records, tmp_path / "b", title="Same")
    append_lines(tmp_path / "records.jsonl", [record.as_json() for record in records])
    subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "records.jsonl"), str(tmp_path / "c")],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "LC_ALL": "C", "COLUMNS": "40"},
    )
    assert [path.name for path in paths] == ["index.html", "report.md", "comparison.csv"]
    for path in paths:
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert path.read_bytes() == (tmp_path / "c" / path.name).read_bytes()


def test_the_policy_allows_the_one_script_and_nothing_else(troubled, tmp_path):
    page = write_report(troubled, tmp_path)[0].read_text(encoding="utf-8")
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!data:|#)", page)
    assert "url(http" not in page


def test_the_page_carries_its_records_without_raw_values(troubled, tmp_path):
    page = write_report(troubled, tmp_path)[0].read_text(encoding="utf-8")
    encoded = re.search(r'href="data:application/x-ndjson;base64,([^"]*)"', page)[1]
    lines = base64.b64decode(encoded).decode().splitlines()
    assert sorted(json.loads(line)["record_id"] for line in lines) == sorted(r.record_id for r in troubled)
    assert not any("runs" in m for line in lines for m in json.loads(line)["measurements"].values())
    assert "raw values of every call are left out here" in page


def test_records_that_do_not_fit_stay_outside_and_the_page_says_so(troubled, tmp_path, monkeypatch):
    monkeypatch.setattr(html_module, "MOST_BYTES", 50_000)
    page = write_report(troubled, tmp_path)[0].read_text(encoding="utf-8")
    assert "base64" not in page
    assert "The records are not inside this page" in page


def test_a_full_study_stays_within_the_size(make_study, tmp_path):
    paths = write_report(make_study(), tmp_path)
    assert paths[0].stat().st_size < 1_500_000


def test_every_part_of_the_page_is_there(make_study, troubled, tmp_path):
    page = write_report([*troubled, *make_study(tasks=("mrpc",))], tmp_path, title="A & B")[0].read_text(
        encoding="utf-8"
    )
    assert "<h1>A &amp; B</h1>" in page
    for heading in ("In short", "Comparison", "Charts", "Lineage", "Host", "Versions", "Noise", "Warnings", "Method"):
        assert f">{heading}</h2>" in page
    assert page.count("<figure") == page.count("<figcaption") == page.count("<details>")
    assert "made from" in page
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_a_page_of_many_rows_is_short_on_each_and_says_so(builders, tmp_path):
    records = [
        builders.profile(
            builders.facts(f"m{k:03}"),
            median_s=0.001 * (k + 1),
            proof=builders.PROOF,
            sampling=builders.SAMPLING,
            measurements=builders.thorough(),
            noise=Noise(verdict="invalid", reasons=("a neighbour",)) if k == 200 else Noise(verdict="clean"),
        )
        for k in range(MANY_ROWS + 1)
    ]
    page = write_report(records, tmp_path)[0].read_text(encoding="utf-8")
    table = page[page.index('<table class="comparison long"') : page.index("</table>")]
    assert len(table) / len(records) < 500
    assert table.count("<td") + table.count("<th") >= 12 * len(records)
    assert 'title="a neighbour"' in table
    assert page.count('<details class="row') == 12
    assert '<details class="row void">' in page
    assert "Of 301 rows 12 have their details here" in page
    assert "With so many rows the reasons stand in the notes and in the CSV" in page


def test_details_comparisons_and_their_charts_are_on_the_page_and_in_the_markdown(builders, tmp_path):
    full = builders.profile(
        builders.facts("full"), measurements=builders.thorough(), proof=builders.PROOF, sampling=builders.SAMPLING
    )
    records = [
        full,
        builders.served(builders.facts("busy"), cell={"load": 0.5}),
        builders.compared(builders.facts("b"), builders.facts("a")),
    ]
    page, markdown, _ = (path.read_text(encoding="utf-8") for path in write_report(records, tmp_path))
    for name in (
        "Cold start by phase",
        "busy fp32, 50 % of capacity: what a client waits",
        "Under the machine&#39;s own peak",
    ):
        assert page.count(f">{name}</h") == 1
    assert page.count('role="img"') == page.count("<figure") + 1
    for words in ("Memory by phase", "Operators", "Sampling", "Little&#39;s law", "b against a", "Roofline"):
        assert words in page
    assert markdown.count("<details>") == markdown.count("</details>") == 2
    assert "**Memory by phase**" in markdown
    assert "## Paired comparisons" in markdown
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_raw_values_within_details_are_not_carried(builders, tmp_path):
    page = write_report([builders.served(builders.facts("a"), cell={"load": 0.5})], tmp_path)[0].read_text("utf-8")
    encoded = re.search(r'href="data:application/x-ndjson;base64,([^"]*)"', page)[1]
    (record,) = map(json.loads, base64.b64decode(encoded).decode().splitlines())
    assert record["measurements"]["response_time"]["details"]["service_s"] == ["80 values left out"] * 2


def test_no_records_give_a_page_that_says_so(tmp_path):
    page, markdown, _ = write_report([], tmp_path)
    assert "There is nothing to compare" in page.read_text(encoding="utf-8")
    assert "There is nothing to compare" in markdown.read_text(encoding="utf-8")


def test_an_older_report_is_replaced_whole(troubled, tmp_path):
    (tmp_path / "index.html").write_text("old", encoding="utf-8")
    (tmp_path / "kept.txt").write_text("mine", encoding="utf-8")
    write_report(troubled, tmp_path)
    assert (tmp_path / "index.html").read_text(encoding="utf-8") != "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.csv", "index.html", "kept.txt", "report.md"]


def test_without_the_extra_the_rest_is_written_and_the_reason_is_known(troubled, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module.importlib.util, "find_spec", lambda name: None)
    assert [path.name for path in write_report(troubled, tmp_path)] == ["report.md", "comparison.csv"]
    assert "pip install 'benchkit[report]'" in why_no_page()
    with pytest.raises(EnvironmentLacks) as caught:
        write_report(troubled, tmp_path, html=True)
    assert caught.value.remedy == "pip install 'benchkit[report]'"


BARE = """
import sys
for name in ("jinja2", "markupsafe", "altair", "vl_convert", "torch", "transformers", "datasets", "onnx", "pandas"):
    sys.modules[name] = None
from pathlib import Path
from benchkit.core.store import read_records
from benchkit.report.page import write_report
from benchkit.report.rendering import FORMATS, render
from benchkit.report.tables import comparison
records = list(read_records(Path(sys.argv[1])))
assert all(render(comparison(records), name) for name in FORMATS)
assert [path.name for path in write_report(records, Path(sys.argv[2]))] == ["report.md", "comparison.csv"]
"""


def test_text_forms_need_nothing_of_the_extra(troubled, tmp_path):
    append_lines(tmp_path / "records.jsonl", [record.as_json() for record in troubled])
    arguments = [sys.executable, "-c", BARE, str(tmp_path / "records.jsonl"), str(tmp_path / "out")]
    subprocess.run(arguments, check=True, timeout=60)
