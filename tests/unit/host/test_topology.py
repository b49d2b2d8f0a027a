from pathlib import Path

from benchkit.host.topology import (
    LastLevelCache,
    governor,
    hypervisor,
    last_level_cache,
    listed_cores,
    smt_siblings,
    turbo,
)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_the_last_cache_and_how_many_of_them(tmp_path: Path) -> None:
    """Two cores on one 32 MiB cache, a third on another: a process on all three reaches both."""
    for core, sharers in ((0, "0-1"), (1, "0-1"), (2, "2-3")):
        folder = f"devices/system/cpu/cpu{core}/cache"
        for index, level, kind, size in ((0, 1, "Data", "32K"), (1, 1, "Instruction", "32K"), (3, 3, "Unified", "32M")):
            write(tmp_path, f"{folder}/index{index}/level", str(level))
            write(tmp_path, f"{folder}/index{index}/type", kind)
            write(tmp_path, f"{folder}/index{index}/size", size)
            write(tmp_path, f"{folder}/index{index}/shared_cpu_list", sharers if level == 3 else str(core))
    assert last_level_cache(tmp_path, cores=[0, 1, 2]) == LastLevelCache(level=3, size_bytes=32 << 20, instances=2)
    assert last_level_cache(tmp_path, cores=[0]) == LastLevelCache(level=3, size_bytes=32 << 20, instances=1)


def test_siblings_are_those_that_this_process_may_use(tmp_path: Path) -> None:
    for core, siblings in ((0, "0,4"), (4, "0,4"), (1, "1,5")):
        write(tmp_path, f"devices/system/cpu/cpu{core}/topology/thread_siblings_list", siblings)
    assert smt_siblings(tmp_path, cores=[0, 1, 4]) == ((0, 4),)
    assert smt_siblings(tmp_path, cores=[0, 1]) == ()


def test_governor_and_turbo(tmp_path: Path) -> None:
    write(tmp_path, "devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave")
    write(tmp_path, "devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance")
    write(tmp_path, "devices/system/cpu/intel_pstate/no_turbo", "1")
    assert governor(tmp_path, cores=[0, 1]) == "performance, powersave"
    assert turbo(tmp_path) is False


def test_amds_boost(tmp_path: Path) -> None:
    write(tmp_path, "devices/system/cpu/cpufreq/boost", "1")
    assert turbo(tmp_path) is True


def test_a_hypervisor_is_seen_by_its_flag(tmp_path: Path) -> None:
    write(tmp_path, "cpuinfo", "processor : 0\nflags\t\t: fpu hypervisor avx")
    assert hypervisor(tmp_path / "sys", tmp_path) == "yes"
    write(tmp_path, "sys/class/dmi/id/product_name", "KVM")
    assert hypervisor(tmp_path / "sys", tmp_path) == "KVM"


def test_bare_metal_has_a_product_name_and_no_hypervisor(tmp_path: Path) -> None:
    write(tmp_path, "cpuinfo", "flags\t\t: fpu avx")
    write(tmp_path, "sys/class/dmi/id/product_name", "PowerEdge")
    assert hypervisor(tmp_path / "sys", tmp_path) is None


def test_nothing_shown_is_not_known(tmp_path: Path) -> None:
    nothing = tmp_path / "none"
    assert last_level_cache(nothing, cores=[0]) is None
    assert smt_siblings(nothing, cores=[0]) is None
    assert governor(nothing, cores=[0]) is None
    assert turbo(nothing) is None
    assert hypervisor(nothing, nothing) is None


def test_the_kernels_lists() -> None:
    assert listed_cores("0-2,8\n") == {0, 1, 2, 8}
    assert listed_cores("") == set()
