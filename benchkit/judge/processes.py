"""The fresh processes of a comparison, run in turn: A B A', A' B A; disturbed ones are run again."""

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

from benchkit.bench.job import Job
from benchkit.bench.launch import run_in_child
from benchkit.bench.noise_verdict import different_providers, disturbed_by_others, evidence_of, noise_of
from benchkit.core.progress import Progress
from benchkit.core.records import Measured, Noise
from benchkit.judge.arms import ARMS, Outcome, raw_values, triples_of
from benchkit.judge.compare import Triple

# Disturbed triples that are measured again: one in three, six in all. More is the machine's own state, and would eat
# the time in which it may become quiet.
_SPARE_TRIPLES = 6
_PAIRS_A_SPARE = 3


@dataclasses.dataclass(slots=True, kw_only=True)
class Processes:
    """Runs triples and keeps what they gave.

    Attributes:
        jobs: The job of each arm; all of one kind.
        batch_size: Examples per call.
        affinity: Cores asked for; None when none were.
        timeout_s: Longest life of one process.
        quantity: What is compared.
        statistic: Figure of one process.
        most_pairs: Pairs of the last look, for the progress.
        progress: Told of each pair.
        end_s: When the budget of time is over, on the monotonic clock: a disturbed triple is not repeated after it.
        taken: Arm and outcome of every process that counts, in the order taken.
        disturbed: What disturbed each triple that was measured again.
    """

    jobs: Mapping[str, Job]
    batch_size: int
    affinity: tuple[int, ...] | None
    timeout_s: float
    quantity: str
    statistic: str
    most_pairs: int
    progress: Progress
    end_s: float = math.inf
    taken: list[tuple[str, Outcome]] = dataclasses.field(default_factory=list)
    disturbed: list[str] = dataclasses.field(default_factory=list)

    def measure(self) -> Triple:
        """Run the next three processes; a disturbed triple is measured again, while there are spare ones.

        Only what other processes and the hypervisor did counts, never what a worker did itself: an arm whose own page
        faults or answers put its slow processes aside would be favoured.
        """
        pair = len(self.taken) // 3
        self.progress(f"compare: pair {pair + 1} of at most {self.most_pairs}", min(1.0, pair / self.most_pairs))
        order = ARMS if pair % 2 == 0 else ARMS[::-1]
        while True:
            begin_s = time.monotonic()
            three = [(arm, run_in_child(self.jobs[arm], timeout_s=self.timeout_s)) for arm in order]
            noise = self._noise_of([outcome for _, outcome in three])
            spare = min(_SPARE_TRIPLES, 1 + pair // _PAIRS_A_SPARE)
            foreign = disturbed_by_others([outcome for _, outcome in three]) if self.jobs["a"].kind == "time" else []
            now_s = time.monotonic()
            over = now_s + (now_s - begin_s) > self.end_s
            if noise.verdict == "clean" or not foreign or len(self.disturbed) >= spare or over:
                break
            self.disturbed.append("; ".join(foreign[:2]))
        self.taken += three
        runs = raw_values(self.quantity, [outcome for _, outcome in three], self.batch_size).runs
        return triples_of(runs, order, self.statistic)[0]

    def noise(self, triples: int | None = None) -> Noise:
        """Return the verdict on the last so many triples together; on all by default."""
        last = self.taken if triples is None else self.taken[-3 * triples :]
        return self._noise_of([outcome for _, outcome in last])

    def noisy(self, triples: int) -> str | None:
        """Say what disturbed the last so many triples; None when nothing did."""
        found = self.noise(triples)
        return None if found.verdict == "clean" else "; ".join(found.reasons[:3])

    def raw(self) -> Measured:
        """Return the raw values of every process in the order taken, and which arm each belongs to."""
        found = raw_values(self.quantity, [outcome for _, outcome in self.taken], self.batch_size)
        details = found.details | {"order": [arm for arm, _ in self.taken], "statistic": self.statistic}
        return found.model_copy(update={"statistics": {}, "details": details})

    def evidence(self) -> dict[str, Any]:
        """Return the counters that the verdict on noise is made of, in the order taken; {} where no clock is run."""
        if self.jobs["a"].kind != "time":
            return {}
        return {"noise": {"runs": evidence_of([outcome for _, outcome in self.taken])}}

    @property
    def provider(self) -> str:
        """Execution provider that ran; said to be unproved where the pass proves none."""
        proof = next(outcome for arm, outcome in self.taken if arm == "b").get("proof") or {}
        return str(proof.get("provider") or "not proved in this pass")

    def _noise_of(self, outcomes: list[Outcome]) -> Noise:
        kind, threads = self.jobs["a"].kind, self.jobs["a"].options.threads
        if kind == "time":
            return noise_of(outcomes, threads=threads, affinity=self.affinity, violations=different_providers(outcomes))
        if kind == "energy":
            details = raw_values(self.quantity, outcomes, self.batch_size).details
            reasons = tuple(details.get("warnings", ())) or ("others used the CPU",)
            return Noise(verdict="noisy", reasons=reasons) if any(details["contaminated"]) else Noise(verdict="clean")
        return Noise(verdict="clean")  # What a process keeps in memory does not depend on its neighbours.
