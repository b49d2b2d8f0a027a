"""What lies behind a row, from proof to roofline, and that a damaged record does no harm there."""

import pytest

from benchkit.core.records import Measured, Noise, Statistic
from benchkit.report import details as details_module
from benchkit.report.detail_cold_start import cold_start_chart
from benchkit.report.details import details_of
from benchkit.report.entries import entries_of

NOISY = Noise(verdict="invalid", reasons=("a neighbour",))


def parts_of(record):
    (row,) = details_of(entries_of([record]), frozenset()).rows
    return {part.title: part for part in row.parts}


@pytest.fixture
def full(builders):
    return builders.profile(
        builders.facts("a"), measurements=builders.thorough(), proof=builders.PROOF, sampling=builders.SAMPLING
    )


def test_the_proof_says_what_ran(full):
    parts = parts_of(full)
    facts = dict(parts["What ran"].rows)
    assert facts["provider"].startswith("CPUExecutionProvider on cpu")
    assert facts["threads"] == "1 asked (inter-op 1), 0.995\u20131.00 cores busy, 2 threads of the system"
    assert facts["cores"] == "asked: not bound; allowed: 0,1"
    assert facts["products by format"].startswith("int8 94.0 % (77.0 % of the nodes); fp32")
    assert parts["Operators"].rows[0] == ("MatMulInteger", "46.0 %", "44", "CPU")


def test_the_sampling_says_what_was_wanted_and_what_was_reached(full):
    facts = dict(parts_of(full)["Sampling"].rows)
    assert facts["p50 within"] == "±1.2 % reached, ±2.0 % wanted"
    assert facts["p95 within"] == "no bound reached, ±5.0 % wanted"
    assert facts["stopped by"].startswith("the targets")
    assert facts["error of each bound"] == "0.0167, one-sided"


def test_memory_stands_by_phase_with_its_control(full):
    part = parts_of(full)["Memory by phase"]
    assert [row[:2] for row in part.rows] == [("imports", "56.0"), ("session", "94.0")]
    assert "only imports peaks at 56.0 MiB" in part.lead
    assert "128 MiB" in part.lead
    assert "(memory.peak)" in part.lead


def test_a_cold_start_is_shown_by_phase(full):
    part = parts_of(full)["Cold start"]
    assert part.rows[0] == ("interpreter", "20.0 ms", "18.0 ms")
    chart = cold_start_chart(full, 1)
    bars = [layer for layer in chart.spec["layer"] if layer["mark"]["type"] == "bar"]
    assert len(bars) == 10
    assert bars[0]["data"]["values"] == [{"from": 0.0, "to": 20.0}]
    assert bars[1]["data"]["values"] == [{"from": 20.0, "to": 150.0}]


def test_energy_windows_name_source_scope_idle_and_contamination(full):
    part = parts_of(full)["CPU energy"]
    for words in ("powercap", "CPU package, whole machine", "Gross 12.3", "net 4.50", "8 W before and 8.1 W after"):
        assert words in part.lead
    assert "window 2" in part.lead
    assert part.rows[0] == ("1", "24.6 J", "2 s", "12.3 W", "2,000", "1.0 %")


def test_what_was_not_measured_has_its_reason(builders):
    part = parts_of(builders.profile(builders.facts("a"), proof=builders.PROOF))["CPU energy"]
    assert part.rows == ()
    assert part.lead.startswith("not measured (no_powercap)")


def test_the_roofline_names_its_ceiling(full):
    facts = dict(parts_of(full)["Roofline"].rows)
    assert facts["ceiling"] == "440 GFLOP/s"
    assert facts["bound by"] == "compute"
    assert facts["notes"] == "all of it fits into the last cache"


def test_a_server_row_shows_its_load(builders):
    part = parts_of(builders.served(builders.facts("a"), cell={"load": 0.5}))["Load"]
    assert part.lead.startswith("Asked: 50 % of capacity.")
    assert part.rows[0] == ("1", "125", "50.0 %", "off by 0.20 %", "0", "1.18 times as long", "no")
    search = parts_of(builders.served(builders.facts("a"), cell={"p99_at_most_s": 0.02}))["Search for the largest rate"]
    assert search.rows[0] == ("1", "339.5", "6.00 ms", "met, confirmed afresh")


def test_a_record_of_before_has_no_details(builders):
    assert details_of(entries_of([builders.profile(builders.facts("a"))]), frozenset()).rows == ()


def test_too_many_rows_keep_the_front_then_void_ones_and_say_so(builders, monkeypatch):
    monkeypatch.setattr(details_module, "_MOST", 3)
    records = [
        builders.profile(
            builders.facts(f"m{k}"),
            median_s=0.001 * (k + 1),
            proof=builders.PROOF,
            noise=NOISY if k == 8 else Noise(verdict="clean"),
        )
        for k in range(9)
    ]
    found = details_of(entries_of(records), frozenset([records[7].record_id]))
    assert [row.title.split()[0] for row in found.rows] == ["m0", "m7", "m8"]
    assert [row.state for row in found.rows] == ["clean", "clean", "void"]
    assert found.remark.startswith("Of 9 rows 3 have their details here")


ODD = (None, True, "x", -1, 1e300, [], {}, [[]], [None], {"a": None}, [{"verdict": 3}], {"cold": 7}, [1, "x"])


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_no_shape_of_the_open_parts_breaks_the_report(builders, odd):
    """Whatever stands where a list, an object or a number is expected, one level down as well."""
    thorough = builders.served(builders.facts("a"), cell={"p99_at_most_s": 0.02}).measurements | builders.thorough()
    measurements = {}
    for name, found in thorough.items():
        if isinstance(found, Measured):
            measurements[name] = found.model_copy(update={"details": dict.fromkeys(found.details, odd)})
    record = builders.profile(
        builders.facts("a"),
        measurements=measurements,
        proof=dict.fromkeys(builders.PROOF, odd),
        sampling=dict.fromkeys(builders.SAMPLING, odd),
    )
    found = details_of(entries_of([record]), frozenset())
    assert found.rows
    nested = {"coverage": {"by_provider": odd, "matmul_by_precision": {"int8": odd}}, "top_operators": [odd, odd]}
    assert details_of(entries_of([record.model_copy(update={"proof": nested})]), frozenset()).rows


def test_a_figure_without_a_value_is_no_trouble(builders):
    empty = Measured(unit="J", statistics={"median": Statistic(value=None, n=0, reason="no window")})
    record = builders.profile(builders.facts("a"), measurements={"energy_package": empty}, proof=builders.PROOF)
    assert "CPU energy" in parts_of(record)
