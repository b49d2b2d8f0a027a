"""The coverage pass: a profiled run that shows which operators ran where and in which number format."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from benchkit.bench.job import Job
from benchkit.bench.passes.opening import bind_to, opened, output_facts, what_ran
from benchkit.bench.traces.trace import coverage, read_trace, top_operators

_CALLS = 3


def run(job: Job) -> dict[str, Any]:
    """Run a few calls under the runtime's own profile; never a timed pass."""
    bind_to(job.affinity)
    with tempfile.TemporaryDirectory() as folder:
        prefix = job.options.trace or str(Path(folder) / "trace")
        traced = dataclasses.replace(job, options=dataclasses.replace(job.options, trace=prefix))
        found = opened(traced)
        for prepared in found.inputs[:_CALLS]:
            found.session.call(prepared)
        proof, output = what_ran(found), output_facts(found)
        path = found.session.close()
        nodes = read_trace(path) if path is not None else None
        return {
            "proof": proof,
            "output": output,
            "coverage": None if nodes is None else dataclasses.asdict(coverage(nodes)),
            "top_operators": None if nodes is None else [dataclasses.asdict(row) for row in top_operators(nodes)],
            "trace": str(path) if path is not None and job.options.trace else None,
        }
