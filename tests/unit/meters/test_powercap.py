from pathlib import Path

import pytest

from benchkit.meters.powercap import Powercap

RANGE_UJ = 65_532_610_987


def zone(root: Path, folder: str, name: str, energy_uj: int) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return path


def test_joules_of_all_packages(tmp_path: Path) -> None:
    zones = [zone(tmp_path, f"intel-rapl:{n}", f"package-{n}", 1_000_000) for n in range(2)]
    meter = Powercap(tmp_path)
    assert meter.probe() is None
    mark = meter.start()
    for path, spent_uj in zip(zones, (2_500_000, 500_000), strict=True):
        (path / "energy_uj").write_text(str(1_000_000 + spent_uj))
    assert meter.stop(mark) == pytest.approx(3.0)


def test_a_wrapped_counter_is_exact(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    meter = Powercap(tmp_path)
    mark = meter.start()
    (path / "energy_uj").write_text("199000000")
    assert meter.stop(mark) == pytest.approx(200.0)


def test_core_dram_psys_and_mmio_are_not_summed(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    others = [
        zone(tmp_path, "intel-rapl:0:0", "core", 0),
        zone(tmp_path, "intel-rapl:0:1", "dram", 0),
        zone(tmp_path, "intel-rapl:1", "psys", 0),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    meter = Powercap(tmp_path)
    mark = meter.start()
    for path in others:
        (path / "energy_uj").write_text("5000000")
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("1000000")
    assert meter.stop(mark) == pytest.approx(1.0)


def test_no_counter_is_a_reason_not_zero(tmp_path: Path) -> None:
    missing = Powercap(tmp_path).probe()
    assert missing is not None
    assert missing.reason == "no_powercap"
    assert "BENCHKIT_POWERCAP_ROOT" in missing.remedy


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
    assert "chmod -R" not in missing.remedy


def test_a_counter_that_vanishes_voids_the_window(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = Powercap(tmp_path)
    mark = meter.start()
    (path / "energy_uj").unlink()
    with pytest.raises(OSError, match="energy_uj"):
        meter.stop(mark)
