import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchkit.bench.roofs import peaks
from benchkit.bench.roofs.gemm_graph import Kind, gemm_input, gemm_model
from benchkit.bench.roofs.peaks import Peaks, best_of, joined, measured_peaks
from benchkit.bench.roofs.peaks_worker import LIBRARIES, bandwidths, repeated
from benchkit.core.errors import MeasurementFailed

KINDS: tuple[Kind, ...] = ("fp32", "int8", "qdq")
# Sizes beyond 127 need varints of two bytes.
PRODUCT = (3, 200, 130)


def some_peaks(**changes: Any) -> Peaks:
    values: dict[str, Any] = {
        "threads": 1,
        "gemm_flops_per_s": {"fp32": 1e11, "int8": 4e11},
        "library": {"fp32": "numpy", "int8": "onnxruntime", "bandwidth": "copy"},
        "seen": {"fp32": (8e10, 9e10), "int8": (3e11, 3.5e11), "bandwidth": (1e10, 1.5e10)},
        "bandwidth_bytes_per_s": 2e10,
        "missing": {"bf16": "openvino: the package 'openvino' is not installed"},
        "versions": {"numpy": "2.0"},
        "measured_at_utc": peaks.utc_now(),
    }
    return Peaks(**(values | changes))


@pytest.mark.parametrize("kind", KINDS)
def test_the_hand_written_graph_is_one(kind: Kind) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(gemm_model(kind, PRODUCT))
    onnx.checker.check_model(model, full_check=True)
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [3, 130]
    assert model.SerializeToString() == gemm_model(kind, PRODUCT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_runtime_multiplies_by_it(kind: Kind) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(gemm_model(kind, PRODUCT), providers=["CPUExecutionProvider"])
    given = gemm_input(kind, PRODUCT)
    [answer] = session.run(None, {"a": given})
    random = np.random.default_rng(0)
    if kind == "fp32":
        right = random.standard_normal(PRODUCT[1:], dtype=np.float32)
        assert np.allclose(answer, given @ right, atol=1e-3)
        return
    right = random.integers(-127, 128, PRODUCT[1:], dtype=np.int8).astype(np.int64)
    if kind == "int8":
        assert np.array_equal(answer, given.astype(np.int64) @ right)
    else:
        # Round half to even, as QuantizeLinear does; both ends carry the same scale.
        quantized = np.clip(np.rint(given / np.float32(0.02)) + 128, 0, 255) - 128
        assert np.allclose(answer, (quantized @ right) * 0.02 * 0.02, atol=1e-2)


@pytest.mark.parametrize("library", ["numpy", "onnxruntime"])
def test_each_library_gives_its_kernels(library: str) -> None:
    pytest.importorskip(library)
    kernels = list(LIBRARIES[library]((8, 16, 32), 1))
    assert {kernel.what for kernel in kernels} == ({"fp32"} if library == "numpy" else {"fp32", "int8"})
    for kernel in kernels:
        assert kernel.work == 2 * 8 * 16 * 32
        kernel.call()


def test_a_kernel_is_repeated_often_enough() -> None:
    calls: list[int] = []
    rates, cores = repeated(1e6, lambda: calls.append(1), seconds=0.0)
    assert len(rates) == 5
    assert len(calls) == 7, "two calls of warm-up"
    assert min(rates) > 0
    assert cores >= 0


def test_memory_is_passed_through_by_three_kernels() -> None:
    seen = bandwidths(2, 1 << 20)
    assert set(seen) == {"copy", "add", "read"}
    assert all(rate > 0 for rates in seen.values() for rate in rates)


def test_the_best_library_counts_with_what_was_seen_of_it() -> None:
    found = best_of(
        {
            "memory": {"seen": {"copy": [1e10, 2e10], "read": [3e10, 2e10, 1e10]}, "noise": ("clean", ())},
            "numpy": {"seen": {"fp32": [9e10, 1e11, 8e10]}, "noise": ("noisy", ("a reason",))},
            "onnxruntime": {"seen": {"fp32": [1.2e11], "int8": [4e11]}, "noise": ("invalid", ("a reason", "another"))},
            "openvino": {"error": "the package 'openvino' is not installed", "noise": ("clean", ())},
        },
        threads=2,
        cache_bytes=None,
    )
    assert found.gemm_flops_per_s == {"fp32": 1.2e11, "int8": 4e11}
    assert found.library == {"fp32": "onnxruntime", "int8": "onnxruntime", "bandwidth": "read"}
    assert found.bandwidth_bytes_per_s == 3e10
    assert found.seen["bandwidth"] == (1e10, 2e10)
    assert found.missing == {"bf16": "openvino: the package 'openvino' is not installed"}
    assert found.noise == ("a reason", "another")
    assert found.disturbed


def test_nothing_seen_is_missing_and_no_zero() -> None:
    found = best_of({"memory": {"error": "too little memory"}, "numpy": {"error": "broken"}}, threads=1, cache_bytes=1)
    assert found.bandwidth_bytes_per_s is None
    assert found.gemm_flops_per_s == {}
    assert found.missing["bandwidth"] == "memory: too little memory"
    assert found.missing["fp32"] == "numpy: broken"


def test_two_measurements_are_joined_by_their_maximum() -> None:
    low = some_peaks(bandwidth_bytes_per_s=3e10, library={"fp32": "numpy", "int8": "onnxruntime", "bandwidth": "add"})
    high = some_peaks(
        gemm_flops_per_s={"fp32": 1.5e11, "bf16": 2e11, "int8": 3e11},
        library={"fp32": "openvino", "bf16": "openvino", "int8": "openvino", "bandwidth": "read"},
        missing={},
        disturbed=True,
    )
    both = joined(low, high)
    assert both.gemm_flops_per_s == {"fp32": 1.5e11, "bf16": 2e11, "int8": 4e11}
    assert both.library == {"fp32": "openvino", "bf16": "openvino", "int8": "onnxruntime", "bandwidth": "add"}
    assert both.bandwidth_bytes_per_s == 3e10
    assert both.missing == {}
    assert not both.disturbed, "one of the two was quiet enough"
    assert both.tries == 2


def test_peaks_survive_json() -> None:
    found = some_peaks(noise=("a", "b"))
    assert Peaks.from_json(json.loads(json.dumps(found.as_json()))) == found


class Counted:
    """Stands in for the measurement, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
        self.calls = 0
        self.changes = changes
        monkeypatch.setattr(peaks, "_measured_now", self)

    def __call__(self, threads: int, affinity: object) -> Peaks:
        self.calls += 1
        return some_peaks(threads=threads, **self.changes)


def test_the_cache_holds_for_a_day_a_thread_count_and_a_set_of_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Counted(monkeypatch)
    first = measured_peaks(1, cache=tmp_path)
    assert measured_peaks(1, cache=tmp_path) == first
    assert measured.calls == 1
    measured_peaks(2, cache=tmp_path)
    measured_peaks(1, cache=tmp_path, affinity=[0, 77])
    assert measured.calls == 3
    monkeypatch.setattr(peaks, "utc_now", lambda: "2999-01-01T00:00:00Z")
    measured_peaks(1, cache=tmp_path)
    assert measured.calls == 4


def test_other_versions_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Counted(monkeypatch)
    measured_peaks(1, cache=tmp_path)
    other = peaks.host_facts().model_copy(update={"versions": {"numpy": "99"}})
    monkeypatch.setattr(peaks, "host_facts", lambda: other)
    measured_peaks(1, cache=tmp_path)
    assert measured.calls == 2


def test_disturbed_peaks_are_tried_again_three_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Counted(monkeypatch, disturbed=True)
    for _ in range(5):
        found = measured_peaks(1, cache=tmp_path)
    assert measured.calls == 3
    assert found.tries == 3


def test_a_damaged_cache_is_measured_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Counted(monkeypatch)
    measured_peaks(1, cache=tmp_path)
    [file] = tmp_path.glob("peaks-*.json")
    for text in ("", "[]", '{"seen": 3}', file.read_text()[:-20]):
        file.write_text(text)
        measured_peaks(1, cache=tmp_path)
    assert measured.calls == 5


def test_no_cache_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Counted(monkeypatch)
    monkeypatch.chdir(tmp_path)
    measured_peaks(1, cache=None)
    measured_peaks(1, cache=None)
    assert measured.calls == 2
    assert list(tmp_path.iterdir()) == []


def test_a_real_child_measures_numpy() -> None:
    outcome = peaks._asked("numpy", 1, None)
    assert set(outcome["seen"]) | set(outcome["missing"]) == {"fp32"}, outcome
    assert outcome["noise"][0] in ("clean", "noisy", "invalid")


def test_a_library_that_is_not_here_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openvino.py").write_text("raise ModuleNotFoundError('hidden', name='openvino')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    assert peaks._asked("openvino", 1, None)["error"] == "the package 'openvino' is not installed"


def test_a_library_that_kills_its_process_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openvino.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    assert "ended with code" in peaks._asked("openvino", 1, None)["error"]


def test_torch_is_asked_only_where_bf16_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(library: str, *_: object, **__: object) -> dict[str, Any]:
        asked.append(library)
        return {"seen": {"bf16": [1.0]} if library == "openvino" else {"fp32": [1.0]}, "missing": {}}

    monkeypatch.setattr(peaks, "_asked", answer)
    peaks._measured_now(1, None)
    assert "torch" not in asked
    monkeypatch.setattr(peaks, "_asked", lambda library, *_, **__: asked.append(library) or {"seen": {"fp32": [1.0]}})
    peaks._measured_now(1, None)
    assert "torch" in asked


def test_no_library_at_all_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "_asked", lambda *_, **__: {"error": "broken"})
    with pytest.raises(MeasurementFailed, match="numpy: broken"):
        peaks._measured_now(1, None)


def test_too_little_memory_measures_no_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "_available_bytes", lambda: 1 << 20)
    monkeypatch.setattr(peaks, "_asked", lambda *_, **__: {"seen": {"fp32": [1.0]}})
    found = peaks._measured_now(1, None)
    assert found.bandwidth_bytes_per_s is None
    assert "too much for the memory that is free" in found.missing["bandwidth"]


def test_peaks_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        some_peaks().threads = 2  # type: ignore[misc]
