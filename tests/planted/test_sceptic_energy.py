"""A powercap tree whose counters a thread of the test moves: joules from end to end, and none where they are not."""

import os
import statistics
import threading
import time
from pathlib import Path

import pytest

IDLE_W, BUSY_W = 10.0, 40.0
ZONES = {
    "intel-rapl:0": ("package-0", 1.0),
    "intel-rapl:0:0": ("core", 0.7),
    "intel-rapl:0:1": ("dram", 0.1),
    "intel-rapl:1": ("psys", 1.6),
    "intel-rapl-mmio:0": ("package-0", 1.0),
}


class Counters(threading.Thread):
    """Counters of a machine that draws more while a process of the log is alive."""

    def __init__(self, root: Path, log: Path) -> None:
        super().__init__(daemon=True)
        self._root, self._log, self._joules = root, log, 1000.0
        self._over = threading.Event()
        for folder, (name, _) in ZONES.items():
            (root / folder).mkdir(parents=True)
            (root / folder / "name").write_text(f"{name}\n")
            (root / folder / "max_energy_range_uj").write_text("262143328850\n")
        self._show()

    def run(self) -> None:
        seen_s = time.monotonic()
        while not self._over.wait(0.005):
            now_s = time.monotonic()
            self._joules += (BUSY_W if self._is_busy() else IDLE_W) * (now_s - seen_s)
            seen_s = now_s
            self._show()

    def end(self) -> None:
        self._over.set()
        self.join()

    def _is_busy(self) -> bool:
        pids = [line.split('"pid": ')[1].split(",")[0] for line in self._log.read_text().splitlines()]
        return bool(pids) and Path(f"/proc/{pids[-1]}").exists()

    def _show(self) -> None:
        for folder, (_, share) in ZONES.items():
            beside = self._root / folder / "beside"
            beside.write_text(f"{int(self._joules * share * 1e6)}\n")
            os.replace(beside, self._root / folder / "energy_uj")  # A reader never meets half a number.


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="who is busy is read from /proc")
def test_joules_from_end_to_end(script, measure, tmp_path: Path, monkeypatch) -> None:
    log = tmp_path / "log"
    log.touch()
    counters = Counters(tmp_path / "powercap", log)
    monkeypatch.setenv("BENCHKIT_POWERCAP_ROOT", str(tmp_path / "powercap"))
    counters.start()
    try:
        [record] = measure(script(unit_s=0.0005, log=str(log)), scenario=("offline",))
    finally:
        counters.end()
    energy = record.measurements["energy_package"]
    windows = energy.details["windows"]
    assert (energy.details["source"], energy.details["scope"]) == ("powercap", "CPU package, whole machine")
    assert len(windows) == 5
    for window, (gross_j,) in zip(windows, energy.runs, strict=True):
        reading = window["reading"]
        assert set(reading["by_zone_j"]) == {"package-0", "package-0/dram", "psys"}
        assert reading["wall_s"] >= 2
        assert reading["joules"] == reading["by_zone_j"]["package-0"]
        assert reading["dram_j"] == pytest.approx(0.1 * reading["joules"], rel=0.02)
        assert gross_j == pytest.approx(reading["joules"] / window["examples"], rel=1e-6)
    # The thread that moves the counters lags behind on a busy machine: one window may miss some of its joules.
    watts = [window["reading"]["joules"] / window["reading"]["wall_s"] for window in windows]
    assert statistics.median(watts) == pytest.approx(BUSY_W, rel=0.15)
    assert energy.details["idle_w"] == [pytest.approx(IDLE_W, rel=0.4)] * 2  # A process takes a while to leave
    net, gross = record.statistic("energy_package", "net_median"), record.statistic("energy_package", "median")
    assert net.value / gross.value == pytest.approx((BUSY_W - IDLE_W) / BUSY_W, rel=0.2)


def test_a_counter_that_cannot_be_read_is_a_reason_and_no_number(script, measure, tmp_path: Path, monkeypatch) -> None:
    zone = tmp_path / "powercap" / "intel-rapl:0"
    (zone / "energy_uj").mkdir(parents=True)  # Root may read every file, but no folder as one.
    (zone / "name").write_text("package-0\n")
    monkeypatch.setenv("BENCHKIT_POWERCAP_ROOT", str(tmp_path / "powercap"))
    [record] = measure(script(unit_s=0.0005), scenario=("offline",))
    energy = record.measurements["energy_package"]
    assert (energy.status, energy.reason) == ("not_measured", "powercap_broken")
    assert "package-0" in energy.detail
    assert energy.remedy
