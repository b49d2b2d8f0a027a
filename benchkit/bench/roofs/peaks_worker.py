"""The child process that finds out how fast one library multiplies matrices, or how fast memory is, on some threads.

One process for each library: pools of threads that spin would take cores from one another, and a library that dies of
an illegal instruction takes no other with it. Which of them is the best is left to `peaks`.

The libraries are asked directly, by name, and not through `benchkit.runtimes`, which open text encoders only.
"""

import functools
import gc
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from benchkit.bench.roofs.gemm_graph import INPUT, Kind, Product, gemm_input, gemm_model
from benchkit.host.noise import disturbances, take_snapshot

# A feed-forward layer of a BERT-base at 512 tokens, and a cube: libraries differ in which they like better.
_PRODUCTS: tuple[Product, ...] = ((512, 768, 3072), (1024, 1024, 1024))
_THREADS_A_PRODUCT = 4  # So many threads have enough to do in one of these; with more of them the rows grow.
_SECONDS_EACH = 0.1
_LEAST_REPEATS = 5
_PASSES = 6  # Through memory, for each kernel; the first one touches what the kernel has not seen.
_THREAD_TOLERANCE = 0.15


class Kernel(NamedTuple):
    """One thing to be repeated: `work` operations of a data type, or bytes of memory traffic."""

    what: str
    work: float
    call: Callable[[], object]


def main() -> int:
    """Read the job (library, threads, array_bytes), measure, write what was seen."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What the libraries print.
    job = json.load(sys.stdin)
    if job["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cores"])
    before = take_snapshot()
    try:
        if job["library"] in LIBRARIES:
            importlib.import_module(job["library"])
            before = take_snapshot()  # Reading a library from the disk disturbs nothing.
        outcome = _measured(job)
    except ImportError as error:
        outcome = {"error": f"the package '{error.name}' is not installed"}
    except (RuntimeError, ValueError, MemoryError) as error:
        outcome = {"error": " ".join(str(error).split())[:200] or type(error).__name__}
    outcome["noise"] = disturbances(before, take_snapshot())
    with answer:
        json.dump(outcome, answer)
    return 0


def _measured(job: dict[str, Any]) -> dict[str, Any]:
    threads = int(job["threads"])
    seen: dict[str, list[float]] = {}
    missing: dict[str, str] = {}
    if job["library"] == "memory":
        return {"seen": bandwidths(threads, int(job["array_bytes"])), "missing": missing}
    kernels = LIBRARIES[job["library"]]
    scale = math.ceil(threads / _THREADS_A_PRODUCT)
    for rows, inner, columns in _PRODUCTS:
        for what, work, call in kernels((rows * scale, inner, columns), threads):
            rates, cores = repeated(work, call, seconds=_SECONDS_EACH)
            if cores > threads * (1 + _THREAD_TOLERANCE):
                missing[what] = f"it used {cores:.1f} cores where {threads} thread(s) were asked for"
            else:
                seen.setdefault(what, []).extend(rates)
        gc.collect()  # Ends the pool of a session that is no longer held.
    return {"seen": seen, "missing": missing}


def repeated(work: float, call: Callable[[], object], *, seconds: float) -> tuple[list[float], float]:
    """Repeat a kernel, two calls of warm-up left out.

    Returns:
        Work per second of each call, and how many cores were busy on average.
    """
    call()
    call()
    rates: list[float] = []
    begin_s, cpu_begin_s = time.perf_counter(), time.process_time()
    while len(rates) < _LEAST_REPEATS or time.perf_counter() - begin_s < seconds:
        call_begin_ns = time.perf_counter_ns()
        call()
        rates.append(work / max(time.perf_counter_ns() - call_begin_ns, 1) * 1e9)
    return rates, (time.process_time() - cpu_begin_s) / (time.perf_counter() - begin_s)


def bandwidths(threads: int, array_bytes: int) -> dict[str, list[float]]:
    """Return bytes per second of each pass through arrays of `array_bytes` each, by kernel.

    Bytes count as STREAM counts them: what the kernel reads and writes, without the line that a store may fetch first.
    Copy and Add are STREAM's; its Scale and Triad take two passes in numpy. A pass that only reads is what the weights
    of a model ask for. numpy gives the interpreter's lock back in all three.

    Source: McCalpin, STREAM: Sustainable Memory Bandwidth in High Performance Computers (counting, array sizes).
    """
    n = max(array_bytes // 8 // threads, 1)
    bytes_each = 8.0 * n * threads
    with ThreadPoolExecutor(threads) as pool:
        # Touched first by the threads that use them, so that they lie in their node's memory.
        parts = list(pool.map(lambda _: (np.ones(n), np.ones(n), np.zeros(n)), range(threads)))
        words = [part[0].view(np.uint64) for part in parts]
        kernels: dict[str, tuple[int, Callable[[int], object]]] = {
            "copy": (2, lambda i: np.copyto(parts[i][2], parts[i][0])),
            "add": (3, lambda i: np.add(parts[i][0], parts[i][1], out=parts[i][2])),
            "read": (1, lambda i: np.bitwise_or.reduce(words[i])),
        }
        seen: dict[str, list[float]] = {}
        for name, (arrays, kernel) in kernels.items():
            for _ in range(_PASSES):
                begin_ns = time.perf_counter_ns()
                list(pool.map(kernel, range(threads)))
                seen.setdefault(name, []).append(arrays * bytes_each / (time.perf_counter_ns() - begin_ns) * 1e9)
    return seen


def _flops(product: Product) -> float:
    """Count the operations of a product, a multiply-add as two, whatever the data type."""
    return 2.0 * math.prod(product)


def _numpy(product: Product, _threads: int) -> Iterator[Kernel]:
    """Whatever BLAS numpy was built with; its threads are set by environment variables."""
    rows, inner, columns = product
    left, right = gemm_input("fp32", product), gemm_input("fp32", (inner, columns, rows))
    out = np.empty((rows, columns), np.float32)
    yield Kernel("fp32", _flops(product), lambda: np.matmul(left, right, out=out))


def _onnxruntime(product: Product, threads: int) -> Iterator[Kernel]:
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    kinds: tuple[tuple[str, Kind], ...] = (("fp32", "fp32"), ("int8", "int8"))
    for what, kind in kinds:
        session = onnxruntime.InferenceSession(gemm_model(kind, product), options, providers=["CPUExecutionProvider"])
        feed = {INPUT: gemm_input(kind, product)}
        yield Kernel(what, _flops(product), functools.partial(session.run, None, feed))


def _openvino(product: Product, threads: int) -> Iterator[Kernel]:
    openvino = importlib.import_module("openvino")
    core = openvino.Core()
    kinds: tuple[tuple[str, Kind], ...] = (("fp32", "fp32"), ("bf16", "fp32"), ("int8", "qdq"))
    for what, kind in kinds:
        hint = "bf16" if what == "bf16" else "f32"
        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": hint}
        compiled = core.compile_model(core.read_model(model=gemm_model(kind, product)), "CPU", settings)
        if what == "bf16" and "bf" not in str(compiled.get_property("INFERENCE_PRECISION_HINT")):
            continue  # A processor without bfloat16: the plug-in stays with fp32.
        request, feed = compiled.create_infer_request(), {INPUT: gemm_input(kind, product)}
        infer = functools.partial(request.infer, feed, share_inputs=True, share_outputs=True)
        yield Kernel(what, _flops(product), infer)


def _torch(product: Product, threads: int) -> Iterator[Kernel]:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    rows, inner, columns = product
    for what, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = torch.ones((rows, inner), dtype=dtype), torch.ones((columns, inner), dtype=dtype)
        multiply = torch.inference_mode()(functools.partial(torch.nn.functional.linear, left, right))
        yield Kernel(what, _flops(product), multiply)


LIBRARIES: dict[str, Callable[[Product, int], Iterator[Kernel]]] = {
    "numpy": _numpy,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch": _torch,
}


if __name__ == "__main__":
    sys.exit(main())
