# ruff: noqa: RUF001 - ranges are written with an en dash, as tables print them.
"""The sentences on top: nothing wins by its estimate alone."""

from benchkit.core.records import Measured, Statistic
from benchkit.report.entries import entries_of
from benchkit.report.findings import findings_of
from benchkit.report.headline import headlines


def measured(value, low, high):
    return {"latency": Measured(unit="s", statistics={"p50": Statistic(value=value, low=low, high=high, n=100)})}


def test_the_fastest_and_the_slowest_are_named(troubled):
    answers = findings_of(entries_of(troubled)).answers
    assert answers[0].startswith("At batch 1, 128 tokens there is no winner: quick has the lowest median latency, 4.0")
    assert "the machine was noisy while slow was measured" in answers[0]
    assert "The slowest is slow" in answers[0]
    assert "broken" not in answers[0]


def test_one_artifact_alone_is_not_called_the_fastest(make_facts, make_profile):
    (sentence,) = findings_of(
        entries_of([make_profile(make_facts("a"), measurements=measured(0.010, 0.009, 0.011))])
    ).answers
    assert sentence == "At batch 1, 128 tokens, a takes 10 ms (9–11) for a call, at the median."


def test_overlapping_bounds_are_not_told_apart(make_facts, make_profile):
    records = [
        make_profile(make_facts("a"), measurements=measured(0.010, 0.009, 0.011)),
        make_profile(make_facts("b"), measurements=measured(0.0105, 0.0095, 0.0115)),
        make_profile(make_facts("c"), measurements=measured(0.020, 0.019, 0.021)),
    ]
    (sentence,) = findings_of(entries_of(records)).answers
    assert "its bounds do not tell it apart from b." in sentence
    assert "The slowest is c with 20 ms (19–21), 2.0 times as long." in sentence


def test_a_missing_bound_decides_nothing(make_facts, make_profile):
    records = [
        make_profile(make_facts("a"), measurements=measured(0.010, 0.009, None)),
        make_profile(make_facts("b"), measurements=measured(0.050, 0.049, 0.051)),
    ]
    (sentence,) = findings_of(entries_of(records)).answers
    assert "do not tell it apart from b" in sentence


def test_scores_that_overlap_need_a_paired_comparison(troubled):
    answers = findings_of(entries_of(troubled)).answers
    # "broken" has the highest figure of all, and its profile is void.
    assert answers[1].startswith("On sst2, slow scores highest: accuracy 93.0 %")
    assert "broken" not in answers[1]
    assert answers[1].endswith("so there is no winner: a paired comparison has to decide.")


def test_what_is_not_known_is_listed(troubled):
    caveats = "\n".join(findings_of(entries_of(troubled)).caveats)
    assert "Not scored, because the weights are random: fresh." in caveats
    assert "Void: broken (batch 1, 128 tokens)" in caveats
    assert "Noisy: slow (batch 1, 128 tokens): other processes used 12% of a core." in caveats
    assert "CPU energy was not measured in all 4 rows (no_powercap)" in caveats
    assert "Latency p99 is missing in all 4 rows" in caveats


def test_the_headline_cell_has_the_most_artifacts_then_the_smallest_batch_then_the_most_tokens(
    make_study, make_facts, make_profile
):
    records = [*make_study(tasks=("sst2",)), make_profile(make_facts("odd"), batch_size=1, sequence_length=512)]
    (headline,) = headlines(entries_of(records))
    assert (headline.place.batch_size, headline.place.sequence_length) == (1, 128)
    assert headline.words == "batch 1, 128 tokens"
