import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchkit.bench.roofs.peaks import Peaks
from benchkit.bench.roofs.roofline import Roofline, attained, encoder_work, flops_per_call, roofline
from benchkit.core.architectures import ARCHITECTURES
from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.records import Measured, NotMeasured
from benchkit.stats.summaries import measured

BERT = {
    "model_type": "bert",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
PEAKS = Peaks(
    threads=1,
    gemm_flops_per_s={"fp32": 1e11, "int8": 4e11},
    library={"fp32": "onnxruntime", "int8": "onnxruntime", "bandwidth": "copy"},
    seen={},
    bandwidth_bytes_per_s=2e10,
    missing={"bf16": "openvino: the package 'openvino' is not installed"},
    versions={},
)


def seen(*arguments: Any) -> Roofline:
    found = roofline(*arguments)
    assert isinstance(found, Roofline)
    return found


def test_compute_bound() -> None:
    """100 FLOP a byte at 20 GB/s would allow 2,000 GFLOP/s: the products' 100 GFLOP/s are the lower roof."""
    found = seen(1e10, 1e8, 0.2, "fp32", PEAKS)
    assert found.attained_flops_per_s == pytest.approx(5e10)
    assert found.arithmetic_intensity == pytest.approx(100)
    assert found.ceiling_flops_per_s == pytest.approx(1e11)
    assert found.share == pytest.approx(0.5)
    assert (found.bound_by, found.data_type, found.warning) == ("compute", "fp32", None)


def test_memory_bound() -> None:
    found = seen(1e8, 1e8, 0.01, "fp32", PEAKS)
    assert found.ceiling_flops_per_s == pytest.approx(2e10)
    assert found.share == pytest.approx(0.5)
    assert found.bound_by == "memory"


def test_what_fits_into_the_cache_is_not_held_against_main_memory() -> None:
    found = seen(1e8, 1e7, 0.001, "fp32", dataclasses.replace(PEAKS, cache_bytes=32 << 20))
    assert found.bound_by == "compute"
    assert any("fits into the last cache of 32 MiB" in note for note in found.notes)


def test_without_a_bandwidth_the_products_alone_are_the_roof() -> None:
    bare = dataclasses.replace(PEAKS, bandwidth_bytes_per_s=None, missing={"bandwidth": "memory: too little"})
    found = seen(1e8, 1e8, 0.01, "fp32", bare)
    assert found.bound_by == "compute"
    assert any("too little" in note for note in found.notes)


@pytest.mark.parametrize(("call_s", "warns"), [(0.1 / 1.04, False), (0.1 / 1.06, True)])
def test_above_105_percent_something_is_wrong(call_s: float, warns: bool) -> None:
    found = seen(1e10, 1e6, call_s, "fp32", PEAKS)
    assert (found.warning is not None) == warns
    if found.warning:
        assert "106%" in found.warning
        assert "something is wrong with the measurement" in found.warning


def test_disturbed_peaks_are_suspected_first() -> None:
    disturbed = dataclasses.replace(PEAKS, disturbed=True, noise=("other processes used 131% of a core",))
    assert "131% of a core" in (seen(1e10, 1e6, 0.05, "fp32", disturbed).warning or "")


@pytest.mark.parametrize("precision", ["int8", "dynamic-int8", "static-int8"])
def test_int8_is_held_against_int8_and_says_what_it_leaves_out(precision: str) -> None:
    found = seen(1e10, 1e6, 0.05, precision, PEAKS)
    assert found.data_type == "int8"
    assert found.share == pytest.approx(0.5)
    assert any("run in fp32" in note for note in found.notes)


def test_where_int8_is_slower_than_fp32_the_higher_roof_counts() -> None:
    """A processor without integer dot products: the graph's fp32 parts may beat the integer peak."""
    old = dataclasses.replace(PEAKS, gemm_flops_per_s={"fp32": 1e11, "int8": 6e10})
    assert seen(1e10, 1e6, 0.2, "dynamic-int8", old).data_type == "fp32"


def test_a_peak_that_is_missing_is_a_reason() -> None:
    found = roofline(1e10, 1e8, 0.2, "bf16", PEAKS)
    assert isinstance(found, NotMeasured)
    assert "openvino" in found.detail
    assert found.remedy


@pytest.mark.parametrize(
    ("name", "giga"),
    [("bert-base", 22.35), ("tinybert-6l-768", 11.17), ("tinybert-4l-312", 1.25), ("minilm-l6-h384", 2.87)],
)
def test_operations_of_known_models(name: str, giga: float) -> None:
    """measurement.md, section 8, at 128 tokens."""
    shape = ARCHITECTURES[name]
    config = {
        "model_type": "bert",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
    }
    work = encoder_work(config, precision="fp32", batch_size=1, sequence_length=128)
    assert not isinstance(work, NotMeasured)
    assert work[0] / 1e9 == pytest.approx(giga, abs=0.006)


def test_least_traffic_is_the_formulas() -> None:
    work = encoder_work(BERT, precision="dynamic-int8", batch_size=2, sequence_length=128)
    assert not isinstance(work, NotMeasured)
    matrices = 12 * (4 * 768**2 + 2 * 768 * 3072)
    vectors = 4 * 12 * (9 * 768 + 3072)
    activations = 4 * 2 * 128 * 768 * 25
    assert work[1] == matrices + vectors + activations


def test_weights_of_fp32_weigh_four_times_those_of_int8() -> None:
    full, small = (encoder_work(BERT, precision=p, batch_size=1, sequence_length=2) for p in ("fp32", "dynamic-int8"))
    assert not isinstance(full, NotMeasured)
    assert not isinstance(small, NotMeasured)
    assert full[0] == small[0]
    assert full[1] - small[1] == 3 * 12 * (4 * 768**2 + 2 * 768 * 3072)


def test_distilberts_words_for_the_same_sizes() -> None:
    config = {"model_type": "distilbert", "dim": 768, "hidden_dim": 3072, "n_layers": 6, "n_heads": 12}
    half = encoder_work(config, precision="fp32", batch_size=1, sequence_length=128)
    whole = encoder_work(BERT, precision="fp32", batch_size=1, sequence_length=128)
    assert not isinstance(half, NotMeasured)
    assert not isinstance(whole, NotMeasured)
    assert whole[0] == 2 * half[0]


def test_a_mean_length_lies_between_its_neighbours() -> None:
    works = [encoder_work(BERT, precision="fp32", batch_size=1, sequence_length=n) for n in (20, 20.5, 21)]
    low, middle, high = (work[0] for work in works if not isinstance(work, NotMeasured))
    assert middle == pytest.approx((low + high) / 2)


@pytest.mark.parametrize("config", [{}, {"model_type": "modernbert", "hidden_size": 768}, {"model_type": "bert"}])
def test_an_unknown_model_has_no_work(config: dict[str, Any]) -> None:
    found = encoder_work(config, precision="fp32", batch_size=1, sequence_length=8)
    assert isinstance(found, NotMeasured)
    assert found.remedy


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A foreign folder with a config: its graph is never opened here."""
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    (tmp_path / "config.json").write_text(json.dumps(BERT))
    return load_artifact(tmp_path)


def test_a_record_gets_one_value_for_each_process(artifact: Artifact) -> None:
    found = attained({"throughput": measured("throughput", [[4.0], [5.0]])}, artifact, 2, 128, PEAKS)
    rate, share = found["attained_flops"], found["roofline_share"]
    assert isinstance(rate, Measured)
    assert isinstance(share, Measured)
    flops = flops_per_call(artifact, 2, 128)
    assert flops is not None
    assert [run[0] for run in rate.runs] == pytest.approx([flops * 2.0, flops * 2.5])
    assert [run[0] for run in share.runs] == pytest.approx([flops * 2.0 / 1e11, flops * 2.5 / 1e11])
    assert share.details["bound_by"] == "compute"
    assert share.details["warning"] is not None, "89 and 112 % of the peak"


def test_without_peaks_the_rate_stays(artifact: Artifact) -> None:
    found = attained({"throughput": measured("throughput", [[4.0]])}, artifact, 1, 128, None)
    assert isinstance(found["attained_flops"], Measured)
    assert isinstance(found["roofline_share"], NotMeasured)


def test_without_a_config_nothing_is_attained(tmp_path: Path) -> None:
    (tmp_path / "bare.onnx").write_bytes(b"not a graph")
    bare = load_artifact(tmp_path / "bare.onnx")
    assert flops_per_call(bare, 1, 128) is None
    found = attained({"throughput": measured("throughput", [[4.0]])}, bare, 1, 128, PEAKS)
    assert all(isinstance(measurement, NotMeasured) for measurement in found.values())


def test_without_a_throughput_nothing_is_attained(artifact: Artifact) -> None:
    found = attained({}, artifact, 1, 128, PEAKS)
    assert all(isinstance(measurement, NotMeasured) for measurement in found.values())
