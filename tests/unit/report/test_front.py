"""The Pareto front and its star."""

from benchkit.core.records import Measured, Noise, Statistic
from benchkit.report.entries import entries_of
from benchkit.report.front import groups_of, starred


def build(make_facts, make_profile, make_score, rows, **profile):
    records = []
    for name, median_s, value in rows:
        artifact = make_facts(name)
        records += [make_profile(artifact, median_s=median_s, **profile), make_score(artifact, "sst2", value)]
    return records


def front_names(records):
    entries = entries_of(records)
    stars = starred(groups_of(entries))
    return {entry.label for entry in entries if entry.record.record_id in stars}


def test_dominated_rows_get_no_star(make_facts, make_profile, make_score):
    rows = [("fast", 0.004, 0.90), ("good", 0.04, 0.93), ("beaten", 0.05, 0.92), ("worst", 0.06, 0.80)]
    assert front_names(build(make_facts, make_profile, make_score, rows)) == {"fast", "good"}


def test_a_void_row_is_never_on_the_front(troubled):
    # "broken" is the fastest and scores best, and gives the same answer to every input.
    assert front_names(troubled) == {"quick", "slow"}


def test_a_void_score_counts_for_nothing(make_facts, make_profile, make_score):
    rows = [("fast", 0.004, 0.90), ("good", 0.04, 0.93)]
    records = build(make_facts, make_profile, make_score, rows)
    best = make_facts("best")
    records += [make_profile(best, median_s=0.001), make_score(best, "sst2", 0.99, noise=Noise(verdict="invalid"))]
    assert front_names(records) == {"fast", "good"}


def test_rows_of_other_cells_hosts_and_tasks_do_not_beat_each_other(make_facts, make_profile, make_score):
    a, b = make_facts("a"), make_facts("b")
    records = [
        make_profile(a, median_s=0.001, sequence_length=32),
        make_profile(b, median_s=0.100, sequence_length=128),
        make_score(a, "sst2", 0.95),
        make_score(b, "sst2", 0.80),
    ]
    groups = groups_of(entries_of(records))
    assert [len(group.points) for group in groups] == [1, 1]
    assert all(point.on_front for group in groups for point in group.points)
    # A front of one artifact says nothing, so it carries no star.
    assert starred(groups) == frozenset()


def test_p50_decides_for_the_whole_group_when_one_p95_is_missing(make_facts, make_profile, make_score):
    rows = [("fast", 0.004, 0.90), ("good", 0.04, 0.93)]
    records = build(make_facts, make_profile, make_score, rows)
    few = make_facts("few")
    figures = {
        "p50": Statistic(value=0.002, low=0.001, high=0.003, n=10),
        "p95": Statistic(value=None, n=10, reason="p95 needs 59 independent values"),
    }
    latency = Measured(unit="s", runs=((0.002,) * 10,), statistics=figures)
    records += [make_profile(few, measurements={"latency": latency}), make_score(few, "sst2", 0.85)]
    (group,) = groups_of(entries_of(records))
    assert group.statistic == "p50"
    assert [point.entry.label for point in group.points] == ["few", "fast", "good"]


def test_ties_share_the_front(make_facts, make_profile, make_score):
    same = {"measurements": {"latency": Measured(unit="s", statistics={"p50": Statistic(value=0.01, n=100)})}}
    rows = [("one", 0.01, 0.9), ("two", 0.01, 0.9), ("less", 0.01, 0.8)]
    assert front_names(build(make_facts, make_profile, make_score, rows, **same)) == {"one", "two"}
