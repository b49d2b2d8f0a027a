"""CPU package energy from the kernel's powercap counters (RAPL; AMD Zen uses the same names).

Source: Linux Documentation/power/powercap/powercap.rst (name, energy_uj, max_energy_range_uj).
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

ROOT_VARIABLE = "BENCHKIT_POWERCAP_ROOT"  # Containers mask /sys/class/powercap; mount it elsewhere and name it here.

_UDEV_RULE = (
    'ACTION=="add", SUBSYSTEM=="powercap", '
    'RUN+="/bin/chgrp power /sys%p/energy_uj", RUN+="/bin/chmod g+r /sys%p/energy_uj"'
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Why energy cannot be measured here: the fields of a `NotMeasured`."""

    reason: str
    detail: str
    remedy: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Counters of all packages at one moment, in microjoules, by zone folder name."""

    energy_uj: dict[str, int]


class Powercap:
    """The package counters of this machine: `probe`, then `start` and `stop` around a window."""

    quantity = "energy_package"
    source = "powercap"
    scope = "CPU package, whole machine"

    def __init__(self, root: Path | None = None, read: Callable[[Path], str] = Path.read_text) -> None:
        """Look at the counters below `root`.

        Args:
            root: The powercap folder; by default the environment's or the kernel's own.
            read: Reads one file; tests inject failures here, since root may read everything.
        """
        self._root = root or Path(os.environ.get(ROOT_VARIABLE, "/sys/class/powercap"))
        self._read = read

    def probe(self) -> Missing | None:
        """Say why the counters cannot be read, or None when they can."""
        zones = self._packages()
        if not zones:
            where = (
                "a virtual machine or a container often has none"
                if sys.platform == "linux"
                else f"{sys.platform} has none"
            )
            return Missing(
                reason="no_powercap",
                detail=f"no package zone below {self._root}: {where}",
                remedy=f"measure on bare metal, or mount the host's powercap folder and set {ROOT_VARIABLE}",
            )
        try:
            self.start()
        except PermissionError:
            return Missing(
                reason="powercap_unreadable",
                detail=f"{zones[0]}/energy_uj is readable by root only (since Linux 5.10, CVE-2020-8694)",
                remedy=f"let a group read it by a udev rule: {_UDEV_RULE}",
            )
        except (OSError, ValueError) as error:
            return Missing(reason="powercap_broken", detail=str(error), remedy="check the powercap folder")
        return None

    def start(self) -> Mark:
        """Return the counters: the mark that `stop` wants back."""
        return Mark(energy_uj={zone.name: self._counter(zone, "energy_uj") for zone in self._packages()})

    def stop(self, mark: Mark) -> float:
        """Return the joules that all packages spent since `mark`; exact below one wrap of a counter.

        Raises:
            OSError: A counter vanished: the window is void.
        """
        spent_uj = 0
        for zone in self._packages():
            delta_uj = self._counter(zone, "energy_uj") - mark.energy_uj[zone.name]
            if delta_uj < 0:
                delta_uj += self._counter(zone, "max_energy_range_uj")
            spent_uj += delta_uj
        return spent_uj * 1e-6

    def _packages(self) -> list[Path]:
        # intel-rapl-mmio shows the same packages a second time; core, uncore, dram and psys are no packages.
        zones = sorted(path for path in self._root.glob("intel-rapl:*") if ":" in path.name)
        return [zone for zone in zones if self._name(zone).startswith("package")]

    def _name(self, zone: Path) -> str:
        try:
            return self._read(zone / "name").strip()
        except OSError:
            return ""

    def _counter(self, zone: Path, file_name: str) -> int:
        return int(self._read(zone / file_name))
