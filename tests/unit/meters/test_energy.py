import dataclasses
import json

import pytest

from benchkit.meters.energy import EnergyWindow, Reading, WindowVoid, idle_power, mirror_warning, summarise_windows


def window(
    joules: float, *, examples: int = 100, wall_s: float = 2.0, foreign_share: float | None = 0.0, **fields: object
) -> EnergyWindow:
    reading = Reading(joules=joules, wall_s=wall_s, source="powercap", scope="CPU package", **fields)
    return EnergyWindow(reading=reading, examples=examples, foreign_share=foreign_share)


def test_gross_and_net_joules_per_example() -> None:
    summary = summarise_windows([window(100.0), window(120.0, examples=120)], 20.0, 21.0)
    assert summary.gross_j_per_example == pytest.approx((1.0, 1.0))
    assert summary.idle_w == pytest.approx(20.5)
    assert summary.net_j_per_example == pytest.approx((0.59, (120 - 41) / 120))
    assert summary.net_reason is None
    assert summary.dram_j_per_example is None


def test_net_is_omitted_when_the_idle_readings_disagree() -> None:
    summary = summarise_windows([window(100.0)], 20.0, 22.1)
    assert summary.gross_j_per_example == pytest.approx((1.0,))
    assert summary.net_j_per_example is None
    assert summary.net_reason is not None
    assert "10 %" in summary.net_reason
    assert summarise_windows([window(100.0)], 20.0, 21.9).net_j_per_example is not None


def test_net_is_omitted_without_idle_readings() -> None:
    summary = summarise_windows([window(100.0)], 20.0, None)
    assert (summary.idle_w, summary.net_j_per_example) == (None, None)
    assert "after" in str(summary.net_reason)
    assert "before" in str(idle_power(None, 1.0)[1])


def test_less_than_idle_is_no_net_figure() -> None:
    summary = summarise_windows([window(30.0)], 20.0, 20.0)
    assert summary.net_j_per_example is None
    assert "idle power" in str(summary.net_reason)


def test_foreign_work_contaminates_its_window() -> None:
    summary = summarise_windows(
        [window(1.0, foreign_share=0.05), window(1.0, foreign_share=0.06), window(1.0, foreign_share=None)], None, None
    )
    assert summary.contaminated == (False, True, None)
    assert [warning for warning in summary.warnings if "contaminated" in warning] == [
        "energy window 2 is contaminated: others used 6% of the CPU"
    ]


def test_memory_has_its_own_line() -> None:
    summary = summarise_windows([window(100.0, dram_j=5.0), window(100.0, dram_j=7.0)], None, None)
    assert summary.dram_j_per_example == pytest.approx((0.05, 0.07))
    assert summarise_windows([window(1.0, dram_j=5.0), window(1.0)], None, None).dram_j_per_example is None


def test_a_mirror_in_every_window_stays_out_and_one_by_chance_is_counted() -> None:
    said = (mirror_warning("package-1", "package-0"),)
    mirrored = window(100.0, mirrored_j={"package-1": 100.0}, warnings=said)
    assert summarise_windows([mirrored, mirrored], None, None).gross_j_per_example == pytest.approx((1.0, 1.0))
    assert summarise_windows([mirrored, mirrored], None, None).warnings == said
    mixed = summarise_windows([mirrored, window(190.0)], None, None)
    assert mixed.gross_j_per_example == pytest.approx((2.0, 1.9))
    assert said[0] not in mixed.warnings
    assert any("counted in all" in warning for warning in mixed.warnings)


def test_a_window_without_examples_has_no_figure() -> None:
    with pytest.raises(WindowVoid, match="no example"):
        summarise_windows([window(1.0, examples=0)], None, None)


def test_a_reading_crosses_the_pipe() -> None:
    reading = window(2.0, dram_j=1.0, by_zone_j={"package-0": 2.0}, warnings=("short",)).reading
    assert Reading.from_json(json.loads(json.dumps(dataclasses.asdict(reading)))) == reading
