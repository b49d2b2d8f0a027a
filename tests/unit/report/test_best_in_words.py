"""The apparent best is praised only beyond all others at an error that all share; forty equal cells have no winner."""

import random

import pytest

from benchkit.core.records import Noise
from benchkit.report.entries import entries_of
from benchkit.report.findings import findings_of
from benchkit.stats.summaries import measured


def timed(builders, name, median_s, seed, **fields):
    """A profile whose statistics follow from its raw values, as a real one's do."""
    draw = random.Random(seed)
    runs = [[median_s * (1 + draw.gauss(0, 0.02)) for _ in range(60)] for _ in range(8)]
    found = {"latency": measured("latency", runs)}
    return builders.profile(builders.facts(name), measurements=found, **fields)


def first_answer(records):
    return findings_of(entries_of(records)).answers[0]


def test_forty_cells_without_a_real_difference_have_no_winner(builders):
    told = first_answer([timed(builders, f"m{k:02}", 0.004, k) for k in range(40)])
    assert told.startswith("At batch 1, 128 tokens there is no winner: ")
    assert "do not tell it apart from" in told
    assert "best" not in told


def test_a_real_difference_has_a_winner_that_has_to_be_confirmed(builders):
    records = [timed(builders, f"m{k}", 0.004 * (1 + k), k) for k in range(4)]
    told = first_answer(records)
    assert told.startswith("At batch 1, 128 tokens, m0 has the lowest median latency")
    assert "its bound lies beyond those of the 3 others" in told
    assert "it is the best once a fresh comparison with m1 agrees" in told
    assert "The slowest is m3" in told


def test_bounds_that_hold_for_one_question_need_not_hold_for_forty(builders):
    """Two cells apart at an error of 5 %, among many that are far: the bounds that all cells ask for are wider."""
    near = [timed(builders, "near0", 0.004, 1), timed(builders, "near1", 0.00401, 7)]
    far = [timed(builders, f"far{k:02}", 0.02, 100 + k) for k in range(38)]
    assert "there is no winner: near0" in first_answer([*near, *far])


def test_of_a_cell_that_was_measured_again_the_latest_clean_run_counts(builders):
    noise = Noise(verdict="noisy", reasons=("a neighbour",))
    days = [f"2026-01-0{day}T00:00:00Z" for day in range(1, 5)]
    records = [
        timed(builders, "a", 0.001, 1, started_at_utc=days[0]),
        timed(builders, "a", 0.002, 2, started_at_utc=days[1]),
        timed(builders, "a", 0.0005, 3, started_at_utc=days[2], noise=noise),
        timed(builders, "b", 0.004, 4, started_at_utc=days[3]),
    ]
    for order in (records, records[::-1]):
        told = first_answer(order)
        assert "a has the lowest median latency, 2.0" in told
        assert "those of the 1 other" in told


def test_a_noisy_best_wins_nothing(builders):
    noise = Noise(verdict="noisy", reasons=("a neighbour",))
    told = first_answer([timed(builders, "a", 0.002, 1, noise=noise), timed(builders, "b", 0.004, 2)])
    assert "there is no winner: a has the lowest median latency" in told
    assert "the machine was noisy while a was measured" in told


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"load": 0.5}, "scenario server, 50 % of capacity"),
        ({"scenario": "low-rate", "rate_per_s": 1.0}, "scenario low-rate, 1/s"),
        ({"scenario": "offline"}, "throughput"),
        ({"p99_at_most_s": 0.02}, "the rate that holds the bound on p99 of a is 340 examples/s"),
    ],
)
def test_each_scenario_is_told_by_its_own_figure(builders, cell, words):
    told = first_answer([builders.served(builders.facts("a"), cell=cell)])
    assert words in told
    assert "latency" not in told


def test_several_scenarios_have_a_sentence_each(builders):
    artifact = builders.facts("a")
    records = [
        builders.profile(artifact),
        builders.served(artifact, cell={"load": 0.5}),
        builders.served(artifact, cell={"scenario": "offline"}),
    ]
    answers = findings_of(entries_of(records)).answers
    assert [word in answer for word, answer in zip(("takes", "offline", "server"), answers, strict=True)] == [True] * 3
