"""Paired comparisons on the page, in the Markdown and in a notebook."""

from benchkit.core.records import Measured, Noise, Statistic
from benchkit.report.contents import contents_of
from benchkit.report.notebook import comparison_html
from benchkit.report.paired import paired, paired_of


def test_a_comparison_in_words(builders):
    one = paired(builders.compared(builders.facts("b"), builders.facts("a")))
    assert one.sentence == "Paired on latency p50, b against a: faster, 0.60 (0.59\u20130.61) times in 12 pairs"
    facts = dict(one.facts)
    assert facts["why"] == "better by more than the margin of 5%"
    assert facts["control A / A"] == "1.00 (0.99\u20131.01)"
    assert facts["pairs"] == "12 judged (looks at 6, 12, 20)"
    assert facts["smallest effect found"] == "7.1 % with 80 % power, margin 5.0 %"
    assert facts["drift of A, first to last"].startswith("1.00")
    assert facts["left out"] == "other processes used 30% of a core"
    assert facts["cell"] == "batch 1, 128 tokens, single-stream, onnxruntime, cpu, 1 thread"


def test_the_score_on_the_same_examples_is_told_with_signs(builders):
    figures = {"accuracy": Statistic(value=-0.0034, low=-0.01, high=0.0031, n=872)}
    score = Measured(unit="ratio", statistics=figures, details={"verdict": "inconclusive", "task": "sst2"})
    record = builders.compared(builders.facts("b"), builders.facts("a"))
    record = record.model_copy(update={"measurements": record.measurements | {"score_difference": score}})
    told = dict(paired(record).facts)["score"]
    assert told == "inconclusive: accuracy on sst2 -0.34 points (-1.00 to +0.31)"


def test_a_void_comparison_has_no_other_verdict(builders):
    noise = Noise(verdict="invalid", reasons=("NaN in an output",))
    one = paired(builders.compared(builders.facts("b"), builders.facts("a"), noise=noise))
    assert one.verdict == "void"
    assert dict(one.facts)["noise"] == "void: NaN in an output"


def test_a_damaged_comparison_says_what_is_missing(builders):
    record = builders.compared(builders.facts("b"), builders.facts("a"), baseline=7, measurements={}, warnings=())
    one = paired(record)
    assert one.sentence == "Paired on no quantity, b against a baseline that is not named: no verdict"
    assert dict(one.facts)["ratio B / A"] == "not in the record"


def test_the_report_holds_comparisons_beside_rows_and_alone(builders, troubled):
    record = builders.compared(builders.facts("b"), builders.facts("a"))
    contents = contents_of([*troubled, record], "x")
    assert any(answer.startswith("Paired on latency p50, b against a: faster") for answer in contents.findings.answers)
    assert contents.paired.rows[0][1] == "faster"
    assert "1 paired comparison among the records: in a section of its own, not in this table" in contents.table.notes
    alone = contents_of([record], "x")
    assert alone.table.rows == ()
    assert not any("nothing to compare" in answer for answer in alone.findings.answers)
    assert contents_of(troubled, "x").paired is None


def test_their_order_is_that_of_their_content(builders):
    records = [builders.compared(builders.facts(name), builders.facts("a")) for name in ("c", "b", "d")]
    assert [one.names for one in paired_of(records)] == ["b against a", "c against a", "d against a"]


def test_a_notebook_shows_the_verdict_and_escapes_the_rest(builders):
    shown = comparison_html(builders.compared(builders.facts("<b onclick=x>"), builders.facts("a&b")))
    assert shown.startswith("<b>&lt;b onclick=x&gt; against a&amp;b: faster</b>")
    assert "0.60 (0.59\u20130.61)" in shown
    assert "onclick=x>" not in shown
