import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from benchkit.meters.energy import WindowVoid
from benchkit.meters.powercap import Powercap

RANGE_UJ = 65_532_610_987


class Time:
    """A clock that moves when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def zone(root: Path, folder: str, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return path


def add(path: Path, joules: float) -> None:
    counter = path / "energy_uj"
    counter.write_text(f"{int(counter.read_text()) + round(joules * 1e6)}\n")


def test_joules_of_all_packages(tmp_path: Path) -> None:
    zones = [zone(tmp_path, f"intel-rapl:{n}", f"package-{n}", 1_000_000) for n in range(2)]
    time = Time()
    meter = Powercap(tmp_path, clock=time)
    assert meter.probe() is None
    mark = meter.start()
    add(zones[0], 2.5)
    add(zones[1], 0.5)
    time.now_s += 2
    reading = meter.stop(mark)
    assert reading.joules == pytest.approx(3.0)
    assert reading.by_zone_j == pytest.approx({"package-0": 2.5, "package-1": 0.5})
    assert reading.power_w == pytest.approx(1.5)
    assert (reading.source, reading.dram_j, reading.warnings) == ("powercap", None, ())


def test_a_wrapped_counter_is_exact(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    meter = Powercap(tmp_path)
    mark = meter.start()
    (path / "energy_uj").write_text("199000000")
    assert meter.stop(mark).joules == pytest.approx(200.0)


def test_two_wraps_in_a_window_are_caught_by_the_reading_thread(tmp_path: Path) -> None:
    """60 J three times over a counter that wraps at 100 J: first and last value alone would say 80 J."""
    zone(tmp_path, "intel-rapl:0", "package-0", 0, range_uj=100_000_000)
    shown = iter([0, 60_000_000, 20_000_000, 80_000_000])
    seen_all = threading.Event()
    last = 0

    def scripted(path: Path) -> str:
        nonlocal last
        if path.name != "energy_uj":
            return path.read_text()
        last = next(shown, last)
        if last == 80_000_000:
            seen_all.set()
        return str(last)

    meter = Powercap(tmp_path, read=scripted, clock=Time())
    mark = meter.start()
    assert seen_all.wait(timeout=30)
    assert meter.stop(mark).joules == pytest.approx(180.0)


def test_the_thread_reads_before_a_counter_can_wrap_twice(tmp_path: Path) -> None:
    zone(tmp_path / "amd", "intel-rapl:0", "package-0", 0)
    zone(tmp_path / "small", "intel-rapl:0", "package-0", 0, range_uj=20_000_000_000)
    periods = []
    for root in ("amd", "small"):
        meter = Powercap(tmp_path / root)
        mark = meter.start()
        periods.append(mark.period_s)
        meter.stop(mark)
    assert periods == [10.0, 5.0]


def test_a_gap_that_may_hide_two_wraps_voids_the_window(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    time = Time()
    meter = Powercap(tmp_path, clock=time)
    mark = meter.start()
    add(path, 100)
    time.now_s += 300  # Stopped by a signal, say: its thread did not read either.
    with pytest.raises(WindowVoid, match="300 s passed"):
        meter.stop(mark)


def test_a_counter_that_was_reset_voids_the_window(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 30_000_000_000)
    time = Time()
    meter = Powercap(tmp_path, clock=time)
    mark = meter.start()
    (path / "energy_uj").write_text("5000000")
    time.now_s += 2
    with pytest.raises(WindowVoid, match="not by a wrap"):
        meter.stop(mark)


def test_a_counter_of_unknown_range_may_not_wrap(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    (path / "max_energy_range_uj").unlink()
    meter = Powercap(tmp_path)
    mark = meter.start()
    (path / "energy_uj").write_text("1000000")
    with pytest.raises(WindowVoid, match="package-0"):
        meter.stop(mark)


def test_dies_that_mirror_one_counter_are_counted_once(tmp_path: Path) -> None:
    zones = [zone(tmp_path, f"intel-rapl:{n}", f"package-0-die-{n}", 7) for n in range(3)]
    time = Time()
    meter = Powercap(tmp_path, clock=time)
    mark = meter.start()
    for path, joules in zip(zones, (200.0, 200.1, 150.0), strict=True):
        add(path, joules)
    time.now_s += 2
    reading = meter.stop(mark)
    assert reading.joules == pytest.approx(350.0)
    assert reading.mirrored_j == pytest.approx({"package-0-die-1": 200.1})
    assert any("package-0-die-1" in warning and "once" in warning for warning in reading.warnings)


@pytest.mark.parametrize(("second_j", "wall_s"), [(199.0, 2.0), (200.0, 0.5)])
def test_sockets_that_differ_or_a_short_look_are_no_mirror(tmp_path: Path, second_j: float, wall_s: float) -> None:
    zones = [zone(tmp_path, f"intel-rapl:{n}", f"package-{n}", 0) for n in range(2)]
    time = Time()
    meter = Powercap(tmp_path, clock=time)
    mark = meter.start()
    add(zones[0], 200.0)
    add(zones[1], second_j)
    time.now_s += wall_s
    reading = meter.stop(mark)
    assert reading.joules == pytest.approx(200 + second_j)
    assert any("shorter than 2 s" in warning for warning in reading.warnings) == (wall_s < 2)


def flat(root: Path, folder: str) -> str:
    return folder


def nested(root: Path, folder: str) -> str:
    parts = folder.split(":")
    return "/".join([parts[0], *(":".join(parts[: n + 1]) for n in range(1, len(parts)))])


@pytest.mark.parametrize("place", [flat, nested])
@pytest.mark.parametrize(
    "tree",
    [
        {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram", "intel-rapl:1": "psys"},
        {"intel-rapl:0": "package-0", "intel-rapl:0:0": "psys", "intel-rapl:0:1": "uncore", "intel-rapl:0:2": "dram"},
        {"intel-rapl:0": "psys", "intel-rapl:0:0": "package-0", "intel-rapl:0:0:0": "core", "intel-rapl:0:0:1": "dram"},
    ],
    ids=["psys beside package", "psys inside package", "package inside psys"],
)
def test_only_packages_are_summed(tmp_path: Path, tree: dict[str, str], place: Callable[[Path, str], str]) -> None:
    joules = {"package-0": 10.0, "core": 4.0, "uncore": 1.0, "dram": 3.0, "psys": 40.0}
    paths = {name: zone(tmp_path, place(tmp_path, folder), name, 0) for folder, name in tree.items()}
    meter = Powercap(tmp_path)
    mark = meter.start()
    for name, path in paths.items():
        add(path, joules[name])
    reading = meter.stop(mark)
    assert reading.joules == pytest.approx(10.0)
    assert reading.dram_j == pytest.approx(3.0)
    assert reading.by_zone_j == pytest.approx({"package-0": 10.0, "package-0/dram": 3.0, "psys": 40.0})


def test_links_to_the_same_zone_are_read_once(tmp_path: Path) -> None:
    """The kernel's own layout: class/powercap holds links to zones that nest, and each zone a link back."""
    package = zone(tmp_path, "devices/intel-rapl/intel-rapl:0", "package-0", 0)
    dram = zone(package, "intel-rapl:0:0", "dram", 0)
    shown = tmp_path / "class"
    shown.mkdir()
    for path in (package.parent, package, dram):
        (shown / path.name).symlink_to(path)
        (path / "subsystem").symlink_to(shown)
    meter = Powercap(shown)
    mark = meter.start()
    add(package, 6)
    add(dram, 2)
    assert meter.stop(mark).by_zone_j == pytest.approx({"package-0": 6.0, "package-0/dram": 2.0})


def test_mmio_duplicates_are_dropped_and_alone_they_count(tmp_path: Path) -> None:
    mmio = zone(tmp_path / "both", "intel-rapl-mmio:0", "package-0", 0)
    package = zone(tmp_path / "both", "intel-rapl:0", "package-0", 0)
    alone = zone(tmp_path / "alone", "intel-rapl-mmio:0", "package-0", 0)
    meters = [Powercap(tmp_path / root) for root in ("both", "alone")]
    marks = [meter.start() for meter in meters]
    for path in (mmio, package, alone):
        add(path, 5)
    readings = [meter.stop(mark) for meter, mark in zip(meters, marks, strict=True)]
    assert [reading.by_zone_j for reading in readings] == [{"package-0": 5.0}] * 2


def test_a_counter_that_stands_still_is_not_zero_joules(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1234)
    time = Time()
    meter = Powercap(tmp_path, clock=time)
    mark = meter.start()
    time.now_s += 2
    with pytest.raises(WindowVoid, match="did not move"):
        meter.stop(mark)


def test_no_counter_is_a_reason_not_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHKIT_POWERCAP_ROOT", str(tmp_path / "absent"))
    missing = Powercap().probe()
    assert missing is not None
    assert missing.reason == "no_powercap"
    assert str(tmp_path / "absent") in missing.detail
    assert "BENCHKIT_POWERCAP_ROOT" in missing.remedy
    with pytest.raises(WindowVoid):
        Powercap().start()


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    monkeypatch.setenv("BENCHKIT_POWERCAP_ROOT", str(tmp_path))
    assert Powercap().probe() is None


def test_a_masked_tree_is_told_from_none(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").symlink_to(tmp_path / "masked")
    missing = Powercap(tmp_path).probe()
    assert missing is not None
    assert "container masks" in missing.detail


def test_an_unreadable_counter_is_a_reason_with_a_rule(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)

    def refused(path: Path) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return path.read_text()

    missing = Powercap(tmp_path, read=refused).probe()
    assert missing is not None
    assert missing.reason == "powercap_unreadable"
    assert "udev" in missing.remedy
    assert "a+r" not in missing.remedy
    assert "chmod -R" not in missing.remedy


@pytest.mark.parametrize("text", ["", "n/a", "-5", "12 34"])
def test_what_is_no_number_is_not_read_as_one(tmp_path: Path, text: str) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = Powercap(tmp_path)
    mark = meter.start()
    (path / "energy_uj").write_text(text)
    missing = meter.probe()
    assert missing is not None
    assert missing.reason == "powercap_broken"
    with pytest.raises(WindowVoid, match="no number"):
        meter.stop(mark)


def test_a_counter_that_vanishes_voids_the_window(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = Powercap(tmp_path)
    mark = meter.start()
    (path / "energy_uj").unlink()
    with pytest.raises(WindowVoid, match="energy_uj") as caught:
        meter.stop(mark)
    assert caught.value.as_missing().reason == "window_void"


def test_a_read_that_failed_once_inside_the_window_voids_it(tmp_path: Path) -> None:
    """The counter is back when the window ends; what it did meanwhile nobody knows."""
    zone(tmp_path, "intel-rapl:0", "package-0", 0, range_uj=1_000_000)
    failed = threading.Event()
    reads = 0

    def flaky(path: Path) -> str:
        nonlocal reads
        if path.name == "energy_uj":
            reads += 1
            if reads == 2:
                failed.set()
                raise OSError(5, "Input/output error", str(path))
        return path.read_text()

    meter = Powercap(tmp_path, read=flaky, clock=Time())
    mark = meter.start()
    assert failed.wait(timeout=30)
    with pytest.raises(WindowVoid, match="inside the window"):
        meter.stop(mark)
