"""CPU package energy from the kernel's powercap counters (RAPL; AMD Zen uses the same names).

Which zones there are, and what they add up to. What joules per example are made of is left to `benchkit.meters.energy`.

Source: Linux Documentation/power/powercap/powercap.rst (name, energy_uj, max_energy_range_uj).
"""

import dataclasses
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchkit.meters.energy import Lookout, Missing, Reading, WindowVoid, mirror_warning

ROOT_VARIABLE = "BENCHKIT_POWERCAP_ROOT"  # Containers mask /sys/class/powercap; mount it elsewhere and name it here.

_UDEV_RULE = (
    'ACTION=="add", SUBSYSTEM=="powercap", KERNEL=="intel-rapl:*", '
    'RUN+="/bin/chgrp power /sys%p/energy_uj", RUN+="/bin/chmod g+r /sys%p/energy_uj"'
)
_CHECK_FOLDER = "measure again; if it stays so, check the powercap folder and its driver"
_FOLDER = re.compile(r"intel-rapl(-mmio)?(:\d+)*")
_MIRROR_TOLERANCE = 1e-3  # measurement.md, section 6: over a second, which is also one step of a 1 ms counter.
_TELLING_WINDOW_S = 1.0  # Shorter windows cannot tell a mirror, or a counter that stands still.
_LARGEST_POWER_W = 4000.0  # More than any package draws: below it no counter wraps twice between two readings.
_LONGEST_PERIOD_S = 10.0
_SHORTEST_PERIOD_S = 0.01  # A counter of an absurd range must not turn the thread into a load.


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Zone:
    folder: Path
    label: str  # Unique among the zones: "package-0", "package-0/dram", "psys".
    is_package: bool
    is_dram: bool


class Mark:
    """An open window: what each counter showed last, and what it has counted since `start`."""

    def __init__(
        self, zones: Sequence[_Zone], shown_uj: dict[str, int], range_uj: dict[str, int], now_s: float
    ) -> None:
        self.zones = zones
        self.range_uj = range_uj
        self.shown_uj = shown_uj
        self.spent_uj = dict.fromkeys(shown_uj, 0)
        self.begin_s = self.seen_s = now_s
        # A period late is a busy machine; two are a gap in which a small counter may have wrapped twice unseen.
        known_uj = [value_uj for value_uj in range_uj.values() if value_uj > 0]
        in_range_s = min(known_uj) * 1e-6 / _LARGEST_POWER_W if known_uj else _LONGEST_PERIOD_S
        self.period_s = max(_SHORTEST_PERIOD_S, min(_LONGEST_PERIOD_S, in_range_s))
        self.longest_gap_s = max(2 * self.period_s, in_range_s)
        self.lookout: Lookout | None = None


class Powercap:
    """The package counters of this machine: `probe`, then `start` and `stop` around a window."""

    quantity = "energy_package"
    source = "powercap"
    scope = "CPU package, whole machine"
    window_s = 2.0

    def __init__(
        self,
        root: Path | None = None,
        read: Callable[[Path], str] = Path.read_text,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at the counters below `root`.

        Args:
            root: The powercap folder; by default the environment's or the kernel's own.
            read: Reads one file; tests inject failures here, since root may read everything.
            clock: Seconds that never go back.
        """
        self._root = root or Path(os.environ.get(ROOT_VARIABLE) or "/sys/class/powercap")
        self._read = read
        self._clock = clock

    def probe(self) -> Missing | None:
        """Say why the counters cannot be read, or None when they can."""
        zones = self._zones()
        if not zones:
            return Missing(
                reason="no_powercap",
                detail=f"no package zone below {self._root}: {self._why_no_zone()}",
                remedy=f"measure on bare metal, or mount the host's powercap folder and set {ROOT_VARIABLE}",
            )
        try:
            self._counters(zones)
        except PermissionError as error:
            return Missing(
                reason="powercap_unreadable",
                detail=f"{error.filename or zones[0].folder} is readable by root only (Linux 5.10, CVE-2020-8694)",
                # For a group, not for everyone: who reads the counter can tell what others compute.
                remedy=f"let a group read it (here 'power', with you in it) by a udev rule: {_UDEV_RULE}",
            )
        except (OSError, ValueError) as error:
            return Missing(reason="powercap_broken", detail=f"{zones[0].label}: {error}", remedy=_CHECK_FOLDER)
        return None

    def start(self) -> Mark:
        """Open a window: read the counters, and go on reading them often enough that no wrap is missed.

        Raises:
            WindowVoid: There is no package counter, or one cannot be read.
        """
        zones = self._zones()
        if not zones:
            raise WindowVoid(f"no package zone below {self._root}", remedy=_CHECK_FOLDER)
        try:
            range_uj = {zone.label: self._range(zone) for zone in zones}
            mark = Mark(zones, self._counters(zones), range_uj, self._clock())
        except (OSError, ValueError) as error:
            raise WindowVoid(f"an energy counter could not be read: {error}", remedy=_CHECK_FOLDER) from None
        mark.lookout = Lookout(lambda: self._look(mark), mark.period_s)
        return mark

    def stop(self, mark: Mark) -> Reading:
        """Close the window: joules of all packages since `start`, and of the other zones on lines of their own.

        Raises:
            WindowVoid: A counter vanished, stood still or was not read in time.
        """
        if mark.lookout is not None:
            mark.lookout.close()
        self._look(mark)
        return self._reading(mark, mark.seen_s - mark.begin_s)

    def _reading(self, mark: Mark, wall_s: float) -> Reading:
        by_zone_j = {label: spent_uj * 1e-6 for label, spent_uj in mark.spent_uj.items()}
        packages = {zone.label: by_zone_j[zone.label] for zone in mark.zones if zone.is_package}
        dram = [by_zone_j[zone.label] for zone in mark.zones if zone.is_dram]
        warnings: list[str] = []
        twins: dict[str, str] = {}
        if wall_s >= _TELLING_WINDOW_S:
            if not any(packages.values()):
                raise WindowVoid(
                    f"the counters of {', '.join(packages)} did not move in {wall_s:.3g} s",
                    remedy="measure on bare metal: some virtual machines show counters that stand still",
                )
            twins = _twins(packages)
            warnings += [mirror_warning(zone, twin) for zone, twin in twins.items()]
            warnings += [
                f"the energy counter of {label} did not move" for label, joules in packages.items() if not joules
            ]
        if wall_s < self.window_s:
            warnings.append(f"an energy window of {wall_s:.3g} s is shorter than {self.window_s:g} s")
        return Reading(
            joules=sum(joules for label, joules in packages.items() if label not in twins),
            wall_s=wall_s,
            source=self.source,
            scope=self.scope,
            by_zone_j=by_zone_j,
            dram_j=sum(dram) if dram else None,
            mirrored_j={label: packages[label] for label in twins},
            warnings=tuple(warnings),
        )

    def _look(self, mark: Mark) -> None:
        """Add to `mark` what each counter has moved since the last look; exact below one wrap."""
        try:
            shown_uj = self._counters(mark.zones)
        except (OSError, ValueError) as error:
            problem = f"an energy counter could not be read inside the window: {error}"
            raise WindowVoid(problem, remedy=_CHECK_FOLDER) from None
        now_s = self._clock()
        gap_s, mark.seen_s = now_s - mark.seen_s, now_s
        if gap_s > mark.longest_gap_s:
            raise WindowVoid(
                f"{gap_s:.3g} s passed between two readings of the energy counters, which may wrap twice in that time",
                remedy="measure again without stopping the process",
            )
        for label, value_uj in shown_uj.items():
            delta_uj = value_uj - mark.shown_uj[label]
            if delta_uj < 0:
                delta_uj += mark.range_uj[label]
                if not 0 <= delta_uj <= _LARGEST_POWER_W * 1e6 * max(gap_s, 1.0):
                    raise WindowVoid(
                        f"the counter of {label} fell from {mark.shown_uj[label]} to {value_uj} uJ, and not by a wrap",
                        remedy="measure again without suspending the machine",
                    )
            mark.spent_uj[label] += delta_uj
        mark.shown_uj = shown_uj

    def _counters(self, zones: Sequence[_Zone]) -> dict[str, int]:
        return {zone.label: self._number(zone, "energy_uj") for zone in zones}

    def _range(self, zone: _Zone) -> int:
        try:
            return self._number(zone, "max_energy_range_uj")
        except (OSError, ValueError):
            return 0  # Not needed until the counter goes back; then the window is void.

    def _number(self, zone: _Zone, file_name: str) -> int:
        text = self._read(zone.folder / file_name)
        number = int(text) if text.strip().isdecimal() else -1
        if number < 0:
            raise ValueError(f"{zone.folder / file_name} holds {text.strip()[:40]!r}, which is no number")
        return number

    def _zones(self) -> list[_Zone]:
        """Return packages, dram and psys, wherever they nest; [] without a package, since nothing else is the CPU.

        Names decide, not places: psys may hold the packages or lie inside one. core and uncore are parts of a package.
        """
        folders = self._folders()
        names = {folder.name: self._name(folder) for folder in folders}
        mmio = {folder.name for folder in folders if folder.name.startswith("intel-rapl-mmio")}
        # intel-rapl-mmio shows the packages of intel-rapl a second time; alone, it is as good.
        repeated = mmio if any(_is_package(names[folder]) for folder in names.keys() - mmio) else set()
        zones: list[_Zone] = []
        for folder in folders:
            name = names[folder.name]
            if folder.name in repeated or not (_is_package(name) or name in {"dram", "psys"}):
                continue
            parent = names.get(folder.name.rpartition(":")[0], "")
            label = f"{parent}/{name}" if name == "dram" and parent else name
            if any(zone.label == label for zone in zones):
                label = f"{label} ({folder.name})"
            zones.append(_Zone(folder=folder, label=label, is_package=_is_package(name), is_dram=name == "dram"))
        return zones if any(zone.is_package for zone in zones) else []

    def _folders(self) -> list[Path]:
        """Return every zone folder once: the kernel lists them flat (as links) and, inside one another, again."""
        found: dict[str, Path] = {}
        pending = [self._root]
        while pending:
            folder = pending.pop(0)
            try:
                children = sorted(folder.iterdir())
            except OSError:
                continue
            for child in children:
                # Only names of zones are entered: `subsystem` and `device` lead back up.
                if child.name not in found and _FOLDER.fullmatch(child.name) and child.is_dir():
                    found[child.name] = child
                    pending.append(child)
        return [folder for _, folder in sorted(found.items())]

    def _name(self, folder: Path) -> str:
        try:
            return self._read(folder / "name").strip()
        except (OSError, ValueError):
            return ""

    def _why_no_zone(self) -> str:
        if sys.platform != "linux":
            return f"{sys.platform} has none"
        if not self._root.is_dir():
            return "the folder does not exist, as in most virtual machines"
        if any(path.is_symlink() and not path.exists() for path in self._root.iterdir()):
            return "its links lead nowhere, since the container masks the zones"
        return "a virtual machine or a container often has none"


def _twins(packages: dict[str, float]) -> dict[str, str]:
    """Return the packages that show the counter of an earlier one, each with that one's label.

    Judged by the window itself: it lasts longer than the second that the rule asks for, costs no wait before each
    measurement, and is the very sum that a second copy would double. `summarise_windows` drops what only some
    windows show.
    """
    twins: dict[str, str] = {}
    kept: list[str] = []
    for label, joules in packages.items():
        twin = next((other for other in kept if abs(packages[other] - joules) <= _MIRROR_TOLERANCE * joules), None)
        if twin is not None and joules > 0:
            twins[label] = twin
        else:
            kept.append(label)
    return twins


def _is_package(name: str) -> bool:
    return name.startswith("package")
