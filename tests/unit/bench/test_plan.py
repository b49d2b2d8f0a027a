import collections

import pytest

from benchkit.bench.matrix import Matrix
from benchkit.bench.plan import check_lengths, first_look, interleaved, spots
from benchkit.bench.prediction import Prediction
from benchkit.bench.timing import Schedule
from benchkit.core.errors import BenchkitError
from benchkit.core.settings import validated


def planned(spot, **matrix):
    settings = Matrix(**matrix)
    cells = spots({"onnxruntime": [spot.artifact]}, settings)
    return cells, first_look(cells, settings, Schedule(), with_energy=False)


def test_the_matrix_is_a_product(spot, monkeypatch) -> None:
    monkeypatch.setattr("benchkit.bench.matrix.usable_cores", lambda: 2)
    cells, _ = planned(spot, batch_size=(1, 8), sequence_length=(32, 128), threads=(1, 2))
    assert len(cells) == 8
    assert len({(c.workload.batch_size, c.workload.sequence_length, c.options.threads) for c in cells}) == 8


def test_more_threads_than_cores_are_refused(spot, monkeypatch) -> None:
    monkeypatch.setattr("benchkit.bench.matrix.usable_cores", lambda: 2)
    with pytest.raises(BenchkitError, match="asked for 64 threads, and this process may use 2 cores"):
        planned(spot, threads=(1, 64))


def test_cores_that_are_not_ours_are_refused(spot, monkeypatch) -> None:
    monkeypatch.setattr("benchkit.bench.matrix.own_cores", lambda: {0, 1})
    with pytest.raises(BenchkitError, match="asked to bind to core 7, and this process may use 0, 1"):
        planned(spot, affinity=(7,))
    with pytest.raises(BenchkitError, match="2 threads cannot run side by side"):
        planned(spot, affinity=(1,), threads=(2,))


def test_every_block_runs_every_cell_once(spot) -> None:
    """A sequential sweep would hand the machine's drift to whoever ran last."""
    _, jobs = planned(spot, batch_size=(1, 2, 4, 8), runs=5)
    timed = [job for job in jobs if job.job.kind == "time"]
    blocks = [timed[n : n + 4] for n in range(0, 20, 4)]
    assert all(sorted(job.spots for job in block) == [(0,), (1,), (2,), (3,)] for block in blocks)
    assert len({tuple(job.spots for job in block) for block in blocks}) > 1
    assert {job.run for job in blocks[2]} == {2}


def test_the_order_is_the_seeds(spot) -> None:
    orders = [[job.spots for job in planned(spot, batch_size=(1, 2, 4, 8), seed=seed)[1]] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_later_blocks_are_those_that_a_longer_sweep_would_have_had(spot) -> None:
    """A sweep that goes on after a look continues the same series of orders."""
    settings = Matrix(batch_size=(1, 2, 4, 8))
    cells = spots({"onnxruntime": [spot.artifact]}, settings)
    whole = interleaved(cells, "time", range(9), settings, Schedule())
    assert whole[6 * 4 :] == interleaved(cells, "time", range(6, 9), settings, Schedule())
    only = interleaved(cells, "time", range(6, 9), settings, Schedule(), only=[1, 3])
    assert {job.spots for job in only} == {(1,), (3,)}


def test_time_and_memory_never_share_a_process(spot) -> None:
    cells, jobs = planned(spot, runs=5)
    assert collections.Counter(job.job.kind for job in jobs) == {"coverage": 1, "time": 5, "memory": 2}
    assert Prediction(cells).of(jobs) > 5 * 1.5


def test_one_profiled_run_serves_all_shapes_of_an_artifact(spot) -> None:
    _, jobs = planned(spot, batch_size=(1, 8), sequence_length=(32, 128))
    assert [job.spots for job in jobs if job.job.kind == "coverage"] == [(0, 1, 2, 3)]


def test_energy_is_a_pass_of_its_own_between_two_looks_at_the_idle_machine(spot) -> None:
    cells, _ = planned(spot)
    jobs = first_look(cells, Matrix(), Schedule(), with_energy=True)
    assert [job.job.kind for job in jobs][-7:] == ["idle", *["energy"] * 5, "idle"]


def test_cold_starts_take_both_states_of_the_page_cache_in_turn(spot) -> None:
    _, jobs = planned(spot, cold_start=True)
    starts = [job.job for job in jobs if job.job.kind == "cold-start"]
    assert [job.page_cache for job in starts] == ["warm", "cold"] * 5
    assert all(job.files == (str(spot.artifact.path.absolute()),) for job in starts)


def test_arrivals_are_drawn_anew_in_each_process(spot) -> None:
    _, jobs = planned(spot, scenario=("server",), seed=7)
    assert [job.job.seed for job in jobs if job.job.kind == "time"] == [7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ({}, (None, 0.5, None)),
        ({"load": 0.8}, (None, 0.8, None)),
        ({"rate_per_s": 40.0}, (40.0, None, None)),
        ({"find_max": True, "p99_at_most_s": 0.05}, (None, None, 0.05)),
    ],
)
def test_a_server_has_one_way_to_its_rate(spot, matrix, expected) -> None:
    cells, _ = planned(spot, scenario=("server",), **matrix)
    load = cells[0].load
    assert (load.rate_per_s, load.share_of_capacity, load.p99_at_most_s) == expected


def test_a_low_rate_is_one_a_second(spot) -> None:
    cells, _ = planned(spot, scenario=("low-rate",))
    assert cells[0].load.rate_per_s == 1.0


@pytest.mark.parametrize(
    ("matrix", "problem"),
    [
        ({"runtime": ("onxruntime",)}, "unknown runtime 'onxruntime'"),
        ({"device": ("gpu",)}, "unknown device 'gpu'"),
        ({"engine": "lodgen"}, "unknown engine 'lodgen'"),
    ],
)
def test_names_that_are_in_no_table(matrix, problem) -> None:
    with pytest.raises(BenchkitError, match=problem) as caught:
        Matrix(**matrix).check_names()
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"sequence_length": (1,)}, "at least 2"),
        ({"batch_size": (0,)}, "greater than 0"),
        ({"batch_size": ()}, "at least one value"),
        ({"batchsize": (1,)}, "unknown key 'batchsize'"),
        ({"scenario": ("sever",)}, "sever"),
        ({"rate_per_s": 5.0}, "is for --scenario server or low-rate, not single-stream"),
        ({"rate_per_s": 5.0, "load": 0.5, "scenario": ("server",)}, "give one"),
        ({"find_max": True, "scenario": ("server",)}, "belong together"),
        ({"load": 1.5, "scenario": ("server",)}, "less than 1"),
        ({"stopping": {"looks": (9, 6)}}, "looks must rise"),
    ],
)
def test_values_that_make_no_cell(values, problem) -> None:
    with pytest.raises(BenchkitError, match=problem):
        validated(values, Matrix, where="flags")


def test_a_length_beyond_the_models_positions(pico_onnx) -> None:
    from benchkit.core.artifacts import load_artifact

    with pytest.raises(BenchkitError, match="sequence length 128 is longer than the 64 positions"):
        check_lengths(load_artifact(pico_onnx), Matrix(sequence_length=(8, 128)))
