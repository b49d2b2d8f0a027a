"""A runtime whose truth is known: the model file is a JSON script of what each call takes, answers and spoils.

Found by its entry point, in the worker too, when this folder is on PYTHONPATH. Keys of a script, all optional:

unit_s: what a call takes, spun on the clock (0: the answer stands ready, a null model).
jitter: share by which each call differs from that, evenly drawn; slow_share, slow_factor: so many are so much slower.
seed: of the draws; each process draws anew, by its number in the log.
extra: work added to every call, as a share.
drift: {"begin_ns", "per_s"}: calls grow by that share a second from then on, on the clock that all processes share.
stall: {"every", "seconds"}: one call in so many takes so long.
answers: "good", "constant", "nan", "turns" (others after 200 calls).
allocates: {"bytes", "at_call"}: held for 3 ms inside one call; "open_bytes": held while the session is opened.
busy_threads: threads that compute at once, whatever was asked for. rebinds: cores the session takes for itself.
provider: what the session says of itself. ends: how a call ends, by tokens: "crash", "hang", "memory", "killed".
log: file that gets a line for each session that is opened.
"""

import hashlib
import json
import os
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np

from benchkit.runtimes.protocol import Proof

_TURN = 200
_DRAWS = 4096


class PlantedRuntime:
    """Opens scripts; see `benchkit.runtimes.protocol.Runtime`."""

    name = "planted"

    def open(self, model, options):
        script = json.loads(Path(model).read_text())
        number = _logged(script.get("log"), model)
        ballast = bytearray(script.get("open_bytes", 0))
        del ballast
        if "rebinds" in script:
            os.sched_setaffinity(0, script["rebinds"])
        return PlantedSession(script, options, number)


class PlantedSession:
    """Does what the script says; see `benchkit.runtimes.protocol.Session`."""

    input_names = ("input_ids",)

    def __init__(self, script, options, number):
        self._script = script
        self._options = options
        self._calls = 0
        self._factors = _factors(script, number)
        self._others = [_Busy() for _ in range(script.get("busy_threads", 1) - 1)]

    def prepare(self, feed):
        ids = feed["input_ids"]
        return ids.shape[1], _answer(self._script.get("answers", "good"), ids)

    def call(self, prepared):
        tokens, answer = prepared
        if not self._script.get("unit_s"):
            return answer
        begin_ns = time.perf_counter_ns()
        self._calls += 1
        _end(self._script.get("ends", {}).get(str(tokens)))
        until_ns = begin_ns + int(self._duration_s(begin_ns) * 1e9)
        allocates = self._script.get("allocates")
        if allocates and self._calls == allocates["at_call"]:
            ballast = np.ones(allocates["bytes"], dtype=np.uint8)
            time.sleep(0.003)
            del ballast
        for other in self._others:
            other.begin(until_ns)
        _spin(until_ns, computing=bool(self._others))
        return answer + 1 if self._script.get("answers") == "turns" and self._calls > _TURN else answer

    def proof(self):
        return Proof(provider=self._script.get("provider", self._options.provider or "planted"), version="1")

    def close(self):
        return None

    def _duration_s(self, now_ns):
        script = self._script
        stall = script.get("stall")
        if stall and self._calls % stall["every"] == 0:
            return stall["seconds"]
        grown = 1.0
        if "drift" in script:
            grown += max(0, now_ns - script["drift"]["begin_ns"]) * 1e-9 * script["drift"]["per_s"]
        return script["unit_s"] * (1 + script.get("extra", 0.0)) * grown * self._factors[self._calls % _DRAWS]


class _Busy(threading.Thread):
    """A thread of a pool that nobody asked for: computes while a call runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self._until_ns = 0
        self._wake = threading.Event()
        self.start()

    def begin(self, until_ns):
        self._until_ns = until_ns
        self._wake.set()

    def run(self):
        while True:
            self._wake.wait()
            self._wake.clear()
            _spin(self._until_ns, computing=True)


def _spin(until_ns, *, computing):
    block = bytes(64 << 10)
    while time.perf_counter_ns() < until_ns:
        if computing:
            hashlib.sha256(block)  # Of this size it lets go of the interpreter's lock, so that threads run at once.


def _factors(script, number):
    generator = np.random.default_rng([script.get("seed", 0), number])
    spread = script.get("jitter", 0.0)
    factors = generator.uniform(1 - spread, 1 + spread, _DRAWS)
    is_slow = generator.random(_DRAWS) < script.get("slow_share", 0.0)
    return np.where(is_slow, factors * script.get("slow_factor", 1.0), factors).tolist()


def _answer(kind, ids):
    rows = np.stack([ids.sum(axis=1), ids[:, -1]], axis=1).astype(np.float32)
    if kind == "constant":
        return np.zeros_like(rows)
    return rows * np.float32("nan") if kind == "nan" else rows


def _end(how):
    if how == "crash":
        os.abort()
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        threading.Event().wait()
    if how == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (1 << 28, resource.RLIM_INFINITY))
        bytearray(1 << 30)


def _logged(path, model):
    """Add a line to the log; return how many stood there before."""
    if path is None:
        return os.getpid()
    with open(path, "a+", encoding="utf-8") as log:
        log.seek(0)
        number = len(log.readlines())
        log.write(json.dumps({"pid": os.getpid(), "model": Path(model).name}) + "\n")
    return number
