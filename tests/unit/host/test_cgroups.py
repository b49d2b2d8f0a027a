from pathlib import Path

import pytest

from benchkit.host.cgroups import Throttling, cpu_quota_cores, memory_limit_bytes, throttling


class Tree:
    """A fake /proc and /sys/fs/cgroup."""

    def __init__(self, folder: Path, membership: str) -> None:
        self.proc, self.root = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self" / "cgroup").write_text(membership)
        self.root.mkdir()

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.fixture
def version_2(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path, "0::/pod/worker\n")
    tree.write("pod/cpu.max", "150000 100000")
    tree.write("pod/cpu.stat", "usage_usec 5\nnr_periods 90\nnr_throttled 12\nthrottled_usec 2500000")
    tree.write("pod/worker/cpu.max", "max 100000")
    tree.write("pod/memory.max", "max")
    tree.write("pod/worker/memory.max", "1073741824")
    return tree


def test_the_limit_of_an_ancestor_binds(version_2: Tree) -> None:
    assert cpu_quota_cores(version_2.proc, version_2.root) == 1.5
    assert memory_limit_bytes(version_2.proc, version_2.root) == 2**30
    assert throttling(version_2.proc, version_2.root) == Throttling(quota_cores=1.5, periods=12, stopped_s=2.5)


def test_the_tightest_limit_counts(version_2: Tree) -> None:
    version_2.write("pod/worker/cpu.max", "50000 100000")
    version_2.write("pod/worker/cpu.stat", "nr_throttled 3\nthrottled_usec 1000")
    assert throttling(version_2.proc, version_2.root) == Throttling(quota_cores=0.5, periods=3, stopped_s=0.001)


def test_version_1(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n")
    tree.write("cpu,cpuacct/job/cpu.cfs_quota_us", "200000")
    tree.write("cpu,cpuacct/job/cpu.cfs_period_us", "100000")
    tree.write("cpu,cpuacct/job/cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 3000000000")
    tree.write("memory/job/memory.limit_in_bytes", "536870912")
    tree.write("memory/memory.limit_in_bytes", "9223372036854771712")
    assert throttling(tree.proc, tree.root) == Throttling(quota_cores=2.0, periods=2, stopped_s=3.0)
    assert memory_limit_bytes(tree.proc, tree.root) == 2**29


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    """The path is the host's; inside, the group's files lie at the mount itself."""
    tree = Tree(tmp_path, "0::/system.slice/docker-abc.scope\n")
    tree.write("cpu.max", "100000 100000")
    assert cpu_quota_cores(tree.proc, tree.root) == 1.0


@pytest.mark.parametrize("quota", ["max 100000", "-1", "", "nonsense"])
def test_no_quota_is_no_number(tmp_path: Path, quota: str) -> None:
    tree = Tree(tmp_path, "0::/\n2:cpu:/\n")
    tree.write("cpu.max", quota)
    tree.write("cpu/cpu.cfs_quota_us", "-1")
    tree.write("cpu/cpu.cfs_period_us", "100000")
    assert cpu_quota_cores(tree.proc, tree.root) is None
    assert throttling(tree.proc, tree.root) is None
    assert memory_limit_bytes(tree.proc, tree.root) is None


def test_a_system_without_groups(tmp_path: Path) -> None:
    assert cpu_quota_cores(tmp_path, tmp_path) is None
    assert throttling(tmp_path, tmp_path) is None
