"""Cold start by phase: scripted clocks, and one real process whose phases must add up to what its parent saw."""

import json
import subprocess
import sys
import time

import pytest

from benchkit.core.errors import MeasurementFailed
from benchkit.meters.cold_start import ColdStart, adds_up, unaccounted_share


def scripted(*moments_ns: int) -> ColdStart:
    moments = iter(moments_ns)
    return ColdStart(exec_ns=1_000, clock_ns=lambda: next(moments))


class TestPhases:
    def test_each_runs_from_the_mark_before(self) -> None:
        start = scripted(5_000, 6_000)
        start.mark("interpreter", at_ns=3_000)
        start.mark("imports")
        start.mark("session")
        assert start.phases_ns == {"interpreter": 2_000, "imports": 2_000, "session": 1_000}
        assert list(start.phases_s()) == ["interpreter", "imports", "session"]
        assert start.phases_s()["imports"] == 2e-6

    def test_add_up_exactly_however_odd_the_moments(self) -> None:
        moments = [10**15 + 7**power for power in range(3, 18)]
        start = ColdStart(exec_ns=10**15, clock_ns=iter(moments).__next__)
        for number in range(len(moments)):
            start.mark(f"phase {number}")
        assert sum(start.phases_ns.values()) == start.total_ns == moments[-1] - 10**15
        assert start.total_s == pytest.approx(sum(start.phases_s().values()), abs=1e-8)

    def test_before_any_mark_there_is_nothing(self) -> None:
        assert scripted().phases_s() == {}
        assert scripted().total_ns == 0

    def test_another_clock_is_found(self) -> None:
        """A worker whose clock is behind its parent's must not give a negative phase."""
        with pytest.raises(MeasurementFailed, match=r"'interpreter' of the start ends 0\.001 ms before it begins"):
            scripted(0).mark("interpreter")

    def test_a_phase_is_marked_once(self) -> None:
        start = scripted(2_000, 3_000)
        start.mark("imports")
        with pytest.raises(MeasurementFailed, match="'imports' of the start ends twice"):
            start.mark("imports")

    def test_the_recorders_own_phases_cannot_be_changed_from_outside(self) -> None:
        start = scripted(2_000)
        start.mark("imports")
        start.phases_ns["imports"] = 7
        assert start.phases_ns == {"imports": 1_000}


class TestSum:
    PHASES = {"interpreter": 0.02, "imports": 0.5, "session": 0.3, "first_call": 0.18}

    @pytest.mark.parametrize(("wall_s", "expected"), [(1.0, True), (1.019, True), (1.03, False), (0.97, False)])
    def test_against_the_wall(self, wall_s: float, expected: bool) -> None:
        assert adds_up(self.PHASES, wall_s) is expected

    def test_a_phase_left_out_is_found(self) -> None:
        assert not adds_up({name: s for name, s in self.PHASES.items() if name != "session"}, 1.0)

    def test_a_share_has_a_sign(self) -> None:
        assert unaccounted_share({"a": 0.5}, 1.0) == pytest.approx(0.5)
        assert unaccounted_share({"a": 1.5}, 1.0) == pytest.approx(-0.5)

    def test_no_wall_no_sum(self) -> None:
        assert not adds_up(self.PHASES, 0.0)


CHILD = """
import time
BEGIN_NS = time.perf_counter_ns()
import json, sys
from benchkit.meters.cold_start import ColdStart
start = ColdStart(json.loads(sys.stdin.readline())["exec_ns"])
start.mark("interpreter", at_ns=BEGIN_NS)
for phase, seconds in (("imports", 0.3), ("session", 0.4), ("first_call", 0.3)):
    time.sleep(seconds)
    start.mark(phase)
print(json.dumps({"phases_s": start.phases_s(), "begin_ns": BEGIN_NS}), flush=True)
sys.stdin.read()
"""


def started() -> tuple[dict, int, float]:
    """Start a real process; return its answer, the moment of exec and the wall time until the answer was here."""
    command = [sys.executable, "-c", CHILD]
    exec_ns = time.perf_counter_ns()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({"exec_ns": exec_ns}) + "\n")
        child.stdin.flush()
        line = child.stdout.readline()
        wall_s = (time.perf_counter_ns() - exec_ns) * 1e-9
    return json.loads(line), exec_ns, wall_s


def test_a_real_process_adds_up_to_what_its_parent_saw() -> None:
    """Sums, not durations. Thrice, since on a loaded machine the answer itself may wait for a core."""
    shares = []
    for _ in range(3):
        answer, exec_ns, wall_s = started()
        assert exec_ns < answer["begin_ns"], "parent and child must share the clock"
        assert list(answer["phases_s"]) == ["interpreter", "imports", "session", "first_call"]
        shares.append(unaccounted_share(answer["phases_s"], wall_s))
        assert shares[-1] > 0, "the child cannot have lived longer than its parent waited"
        if adds_up(answer["phases_s"], wall_s):
            return
    pytest.fail(f"in no phase: {shares}")
