import itertools
from pathlib import Path

import pytest

from benchkit.host.clocks import Canary, ClockState, canary_drift, clock_disturbances, clock_state


def write(root: Path, name: str, text: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_a_machine_that_shows_everything(tmp_path: Path) -> None:
    for core, clock_khz, throttled in ((0, 2_400_000, 1), (1, 3_600_000, 2), (2, 4_000_000, 50)):
        folder = f"devices/system/cpu/cpu{core}"
        write(tmp_path, f"{folder}/cpufreq/scaling_cur_freq", clock_khz)
        write(tmp_path, f"{folder}/thermal_throttle/core_throttle_count", throttled)
        write(tmp_path, f"{folder}/thermal_throttle/package_throttle_count", 7)
    write(tmp_path, "class/thermal/thermal_zone0/type", "acpitz")
    write(tmp_path, "class/thermal/thermal_zone0/temp", 99_000)
    write(tmp_path, "class/thermal/thermal_zone1/type", "x86_pkg_temp")
    write(tmp_path, "class/thermal/thermal_zone1/temp", 71_500)
    # Core 2 is not ours; the package's counter is one, though every core shows it.
    assert clock_state(tmp_path, cores=[0, 1]) == ClockState(fastest_hz=3.6e9, throttle_events=10, hottest_celsius=71.5)


def test_an_amd_server_keeps_its_sensor_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, "class/hwmon/hwmon0/name", "nvme")
    write(tmp_path, "class/hwmon/hwmon0/temp1_input", 90_000)
    write(tmp_path, "class/hwmon/hwmon1/name", "k10temp")
    write(tmp_path, "class/hwmon/hwmon1/temp1_input", 55_250)
    assert clock_state(tmp_path, cores=[0]).hottest_celsius == 55.25


def test_a_virtual_machine_shows_nothing(tmp_path: Path) -> None:
    assert clock_state(tmp_path / "none", cores=[0]) == ClockState()
    assert clock_disturbances(ClockState(), ClockState()) == ()


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (ClockState(fastest_hz=3e9), ClockState(fastest_hz=2.4e9), "the clock fell by 20%, from 3000 to 2400 MHz"),
        (ClockState(fastest_hz=2e9), ClockState(fastest_hz=3e9), "the clock rose by 50%"),
        (
            ClockState(throttle_events=1),
            ClockState(throttle_events=4, hottest_celsius=99.0),
            "the processor throttled 3 times, at 99 °C",
        ),
    ],
)
def test_what_changed_is_named(before: ClockState, after: ClockState, named: str) -> None:
    [reason] = clock_disturbances(before, after)
    assert named in reason


def test_a_few_turbo_bins_are_no_other_clock() -> None:
    assert clock_disturbances(ClockState(fastest_hz=3e9), ClockState(fastest_hz=2.8e9)) == ()


def test_the_canary_gives_what_its_clock_says() -> None:
    ticks_ns = itertools.count(0, 500_000)
    assert Canary(lambda: next(ticks_ns)).run() == 500_000


def test_a_steady_canary_sings() -> None:
    values_ns = [500_000 + 1_000 * (n % 7) for n in range(100)]
    values_ns[40] = 9_000_000  # Interrupted once.
    assert canary_drift(values_ns) is None


def test_a_clock_that_falls_is_named() -> None:
    reason = canary_drift([500_000 + 2_000 * n for n in range(100)])
    assert reason is not None
    assert "31% longer at the end" in reason


def test_a_clock_that_rises_is_named() -> None:
    reason = canary_drift([700_000 - 2_000 * n for n in range(100)])
    assert reason is not None
    assert "less at the end" in reason


def test_a_neighbour_that_comes_and_goes_is_named() -> None:
    """A sibling thread of the host: no trend from end to end, and half of the values a half longer."""
    reason = canary_drift([500_000, 500_000, 750_000, 750_000] * 30)
    assert reason is not None
    assert "varied by 50%" in reason or "varied by 33%" in reason


def test_few_values_cannot_tell() -> None:
    assert canary_drift([1, 100] * 4) is None
    assert canary_drift([]) is None
