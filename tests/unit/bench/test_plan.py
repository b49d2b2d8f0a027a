import collections

import pytest

from benchkit.bench.plan import Matrix, check_lengths, interleaved, predicted_s, spots
from benchkit.bench.timing import Schedule
from benchkit.core.errors import BenchkitError
from benchkit.core.settings import validated


def planned(spot, **matrix):
    settings = Matrix(**matrix)
    cells = spots({"onnxruntime": [spot.artifact]}, settings)
    vocabulary = {spot.artifact.manifest.id: 1000}
    return cells, interleaved(cells, settings, Schedule(), vocabulary=vocabulary, with_energy=False)


def test_the_matrix_is_a_product(spot, monkeypatch) -> None:
    monkeypatch.setattr("benchkit.bench.plan.usable_cores", lambda: 2)
    cells, _ = planned(spot, batch_size=(1, 8), sequence_length=(32, 128), threads=(1, 2))
    assert len(cells) == 8
    assert len({(c.batch_size, c.sequence_length, c.options.threads) for c in cells}) == 8


def test_more_threads_than_cores_are_refused(spot, monkeypatch) -> None:
    monkeypatch.setattr("benchkit.bench.plan.usable_cores", lambda: 2)
    with pytest.raises(BenchkitError, match="asked for 64 threads, and this process may use 2 cores"):
        planned(spot, threads=(1, 64))


def test_every_block_runs_every_cell_once(spot) -> None:
    """A sequential sweep would hand the machine's drift to whoever ran last."""
    _, jobs = planned(spot, batch_size=(1, 2, 4, 8), runs=5)
    timed = [job for job in jobs if job.job.kind == "time"]
    blocks = [timed[n : n + 4] for n in range(0, 20, 4)]
    assert all(sorted(job.spot for job in block) == [0, 1, 2, 3] for block in blocks)
    assert len({tuple(job.spot for job in block) for block in blocks}) > 1
    assert {job.run for job in blocks[2]} == {2}


def test_the_order_is_the_seeds(spot) -> None:
    orders = [[job.spot for job in planned(spot, batch_size=(1, 2, 4, 8), seed=seed)[1]] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_time_and_memory_never_share_a_process(spot) -> None:
    _, jobs = planned(spot, runs=5)
    assert collections.Counter(job.job.kind for job in jobs) == {"time": 5, "memory": 2}
    assert predicted_s(jobs) > 5 * 1.5


def test_energy_is_a_pass_of_its_own(spot) -> None:
    cells, _ = planned(spot)
    jobs = interleaved(cells, Matrix(), Schedule(), vocabulary={"abc": 10}, with_energy=True)
    assert sum(job.job.kind == "energy" for job in jobs) == 5


@pytest.mark.parametrize(
    ("matrix", "problem"),
    [
        ({"runtime": ("onxruntime",)}, "unknown runtime 'onxruntime'"),
        ({"device": ("gpu",)}, "unknown device 'gpu'"),
        ({"scenario": ("sever",)}, "unknown scenario 'sever'"),
        ({"scenario": ("server",)}, "scenario 'server' is not measured by this version"),
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
    ],
)
def test_values_that_make_no_cell(values, problem) -> None:
    with pytest.raises(BenchkitError, match=problem):
        validated(values, Matrix, where="flags")


def test_a_length_beyond_the_models_positions(pico_onnx) -> None:
    from benchkit.core.artifacts import load_artifact

    with pytest.raises(BenchkitError, match="sequence length 128 is longer than the 64 positions"):
        check_lengths(load_artifact(pico_onnx), Matrix(sequence_length=(8, 128)))
