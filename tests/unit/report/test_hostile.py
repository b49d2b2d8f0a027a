"""Every string of a record is untrusted: one hostile record through every writer."""

import csv
import html.parser
import io
import json
import re

import pytest

from benchkit.core.records import Host, Noise, NotMeasured
from benchkit.report.notebook import comparison_html, records_html
from benchkit.report.page import write_report
from benchkit.report.plain import clean, listed
from benchkit.report.rendering import render
from benchkit.report.tables import comparison
from benchkit.report.terminal import table_text

EVIL = (
    "=cmd()|' /C calc'!A0 <script>alert(1)</script></script><img src=x onerror=alert(1)> "
    "| `tick` *b* _i_ [l](javascript:x)"
    "\n# head\r\n\t-item \x1b[31mred\x1b[0m \x00\x07\u2028\u2029\u202egnp.exe\u200b {{7*7}} {% x %} ${x} &amp; \"'> "
    + "x"
    * 500
)


@pytest.fixture(scope="module")
def hostile(builders, make_facts, make_profile, make_score):
    host = Host(
        id=EVIL, cpu_model=EVIL, cores=2, memory_bytes=2**30, flags=(EVIL,), os=EVIL, kernel=EVIL, gpus=(EVIL,),
        versions={EVIL: EVIL},
    )  # fmt: skip
    energy = NotMeasured(reason=EVIL, detail=EVIL, remedy=EVIL)
    records = []
    for number, verdict in enumerate(("clean", "noisy", "invalid", "clean")):
        artifact = make_facts(
            f"{EVIL}{number}",
            id=f"{number}{EVIL}",
            sha256=EVIL,
            precision=f"{EVIL}{number % 2}",
            parents=(EVIL, f"0{EVIL}"),
            candidate=f"{EVIL}{number}",
        )
        where = {"runtime": f"{EVIL}{number}", "provider": EVIL, "extra_key": f"{EVIL}{number}", EVIL: number}
        records.append(
            make_profile(
                artifact,
                median_s=0.004 * (number + 1),
                batch_size=number % 2 + 1,
                cell=where,
                host=host,
                measurements={"energy_package": energy, EVIL: energy},
                noise=Noise(verdict=verdict, reasons=(EVIL,)),
                warnings=(EVIL,),
                started_at_utc=EVIL,
                benchkit_version=EVIL,
            )
        )
        records.append(
            make_score(
                artifact, EVIL, 0.9 + number / 100, metric=EVIL, host=host, cell={"split": EVIL, "runtime": EVIL}
            )
        )
    records += more_hostile(builders, host)
    return records


def poisoned(value):
    """Every string of nested facts made hostile, keys too; numbers stay."""
    if isinstance(value, dict):
        return {key: poisoned(one) for key, one in value.items()} | {EVIL: EVIL}
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    return EVIL if isinstance(value, str) else value


def more_hostile(builders, host):
    """A thorough profile, a server row and a comparison with hostile text wherever text can stand."""
    artifact = builders.facts(EVIL, id=f"0{EVIL}")
    proof, sampling = poisoned(builders.PROOF), poisoned(builders.SAMPLING)
    thorough = {
        name: found.model_copy(update={"details": poisoned(found.details)})
        for name, found in builders.thorough().items()
    }
    named = {"phases_s": {cache: [{EVIL: 0.1, "imports": 0.2}] for cache in ("cold", "warm")}}
    thorough["cold_start"] = thorough["cold_start"].model_copy(update={"details": named})
    where = {"padding": EVIL, "lengths_from": EVIL, "engine": EVIL, "device": EVIL}
    profile = builders.profile(
        artifact, cell=where, measurements=thorough, proof=proof, sampling=sampling, host=host, warnings=(EVIL,)
    )
    served = builders.served(artifact, cell={"p99_at_most_s": 0.02, **where}, host=host)
    measurements = {
        name: found.model_copy(update={"details": poisoned(found.details)}) if hasattr(found, "details") else found
        for name, found in served.measurements.items()
    }
    served = served.model_copy(update={"measurements": measurements, "proof": proof, "sampling": sampling})
    compared = builders.compared(artifact, artifact, verdict=EVIL, host=host, warnings=(EVIL, EVIL))
    measurements = {
        name: found.model_copy(update={"details": poisoned(found.details)})
        for name, found in compared.measurements.items()
    }
    return [profile, served, compared.model_copy(update={"measurements": measurements})]


class Page(html.parser.HTMLParser):
    """Collects what a browser would act upon."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.links = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href")]


def test_the_page_holds_nothing_that_the_template_did_not_put_there(hostile, tmp_path):
    page = write_report(hostile, tmp_path, title=EVIL)[0].read_text(encoding="utf-8")
    seen = Page(page)
    assert seen.tags.count("script") == 1
    assert page.count("</script>") == 1
    assert not {"img", "iframe", "object", "embed", "form", "base", "foreignobject", "image", "a b"} & set(seen.tags)
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert all(link.startswith(("data:,", "data:application/x-ndjson;base64,")) for link in seen.links)
    assert "49" not in re.findall(r"\{\{7\*7\}\}|>49<", page)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u2028\u2029\u202e]", page)
    assert seen.tags.count("svg") >= 4
    assert "Behind the rows" in page
    assert "Paired comparisons" in page
    assert len(page) < 1_500_000


def test_markdown_keeps_its_shape(hostile, tmp_path):
    text = write_report(hostile, tmp_path, title=EVIL, html=False)[0].read_text(encoding="utf-8")
    folds = re.findall(r"^<details><summary>([^<>]*)</summary>$|^</details>$", text, re.MULTILINE)
    assert len(folds) == 4
    assert "`" not in "".join(folds)
    text = re.sub(r"^<details><summary>|</summary>$|^</details>$", "", text, flags=re.MULTILINE)
    assert not re.search(r"(?<!\\)<|(?<!\\)`", text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u2028\u2029\u202e]", text)
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert [line for line in heads if "head" in line and not line.startswith("# =")] == []
    for block in re.split(r"\n\n", text):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_csv_cells_are_no_formulas(hostile):
    rows = list(csv.reader(io.StringIO(render(comparison(hostile), "csv"))))
    assert len({len(row) for row in rows}) == 1
    for row in rows[1:]:
        for cell in row:
            assert not cell.startswith(("=", "+", "@", "\t", "\r"))
            assert not cell.startswith("-") or re.fullmatch(r"-[\d.e-]+", cell)
            assert "\n" not in cell
    assert rows[1][0].startswith("'=cmd()")


def test_json_is_ascii_and_reads_back(hostile):
    text = render(comparison(hostile), "json")
    assert text.isascii()
    assert json.loads(text)["rows"]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_terminal_gets_no_control_characters(hostile, width):
    text = table_text(comparison(hostile), width=width, color=False)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", text)
    assert "[31mred" in text  # rich's markup is not read either


def test_clean_keeps_what_can_be_read():
    assert clean(" a\n\tb\u2028c ") == "a b c"
    assert clean("a\x1b[0m\u202eb") == "a\ufffd[0m\ufffdb"
    assert clean("naïve 模型 ✓") == "naïve 模型 ✓"
    assert clean("abcdef", 4) == "abc…"


def test_listed_reads_as_a_sentence():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdef")) == "a, b, c, d and 2 more"


def test_a_notebook_runs_nothing_of_a_record(hostile):
    shown = "".join(comparison_html(record) for record in hostile if record.kind == "compare") + records_html(hostile)
    seen = Page(shown)
    assert set(seen.tags) <= {"b", "table", "thead", "tbody", "tr", "th", "td", "br", "small", "ul", "li"}
    assert seen.attributes <= {"style", "title"}
