"""What a runtime's own profile says: which operators ran, where, in which number format, and for how long.

All three runtimes keep a Chrome trace (JSON), and the raw file is kept as it is: open it with https://ui.perfetto.dev
("Open trace file"; it stays on the machine) or in chrome://tracing. Formats, as they are met here:

* onnxruntime: `cat: Node`, one event an operator, with op_name, provider and the types of inputs and outputs. On a CUDA
  device the durations are the host's, of launching the kernels; the device's own time is not in stock builds.
* torch.profiler: `cat: cpu_op`, nested, and `cat: kernel` for a device, tied to the operator by "External id".
* OpenVINO: written by `benchkit.runtimes.openvino` in onnxruntime's form, with the name of the kernel.

Pure functions of the parsed file; what a mismatch does to a record is left to `bench.record`.
"""

import bisect
import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchkit.bench.traces.number_formats import is_index_arithmetic, is_matmul, number_format
from benchkit.core.errors import MeasurementFailed

# What may run beside the provider asked for: more than this of the time is another measurement.
_MOST_ELSEWHERE = 0.01
_FORMATS = ("int8", "nbits", "fp16", "bf16", "fp32")
_WEIGHTS_ONLY = "weight-"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """One execution of one operator.

    Attributes:
        op_type: Kind of operator, such as MatMul or aten::addmm.
        node: Its name in the graph; a kernel's name on a CUDA device under torch.
        provider: Where it ran.
        duration_us: Its own time, without operators that it called.
        input_types: Types of its inputs as the runtime names them, in order; weights packed ahead are left out by
            onnxruntime.
        output_types: Types of its outputs; () where the runtime does not say.
        kernel: Name of the kernel where the runtime says; its end is the number format.
    """

    op_type: str
    node: str
    provider: str
    duration_us: float
    input_types: tuple[str, ...] = ()
    output_types: tuple[str, ...] = ()
    kernel: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """A row of the table of operators.

    Attributes:
        op_type: Kind of operator.
        provider: Where it ran.
        calls: Executions, over all calls that were profiled.
        total_s: Time of all of them.
        share: Of the time of all operators.
    """

    op_type: str
    provider: str
    calls: int
    total_s: float
    share: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of the executed operators, as fractions of 1: of their number and of their time."""

    nodes: float
    time: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What ran where and in which number format; shares are fractions of 1.

    Attributes:
        nodes: Operators executed, over all calls that were profiled.
        time_s: Their time.
        by_provider: Shares of all operators.
        compute_by_provider: Shares of the operators that are left without arithmetic on shapes and indices.
        time_by_op_type: Shares of the time, largest first.
        matmul_by_precision: Shares of matrix products (attention, convolutions and recurrences included) by the number
            format of their factors: int8, nbits (weights of 4 bits or so), fp16, bf16, fp32, unknown.
    """

    nodes: int
    time_s: float
    by_provider: dict[str, Share]
    compute_by_provider: dict[str, Share]
    time_by_op_type: dict[str, float]
    matmul_by_precision: dict[str, Share]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Coverage":
        """Read a coverage back from `dataclasses.asdict`."""
        names = ("by_provider", "compute_by_provider", "matmul_by_precision")
        shares = {name: {key: Share(**share) for key, share in value[name].items()} for name in names}
        return cls(**(value | shares))


def read_trace(path: Path, *, skip_calls: int = 1) -> list[NodeTime]:
    """Read the operators of a profile.

    Args:
        path: A Chrome trace of onnxruntime, torch.profiler or our own of OpenVINO.
        skip_calls: First calls to leave out, which also allocate; at least one call is always read.

    Raises:
        MeasurementFailed: The file is missing, cut short, or holds no operator.
    """
    events = [event for event in _events(path) if event.get("ph") == "X"]
    inside = _in_calls(events, skip_calls)
    nodes = _device_nodes(inside) or [_host_node(event, own_us) for event, own_us in _own_times(inside)]
    if not nodes:
        raise MeasurementFailed(f"the profile '{path}' holds no operator", remedy="trace at least one call")
    return nodes


def top_operators(nodes: Sequence[NodeTime], n: int = 10) -> list[OperatorTime]:
    """Return the operators that took the most time, by kind and provider."""
    total_us = sum(node.duration_us for node in nodes)
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for node in nodes:
        groups[node.op_type, node.provider].append(node.duration_us)
    rows = [
        OperatorTime(
            op_type=op_type,
            provider=provider,
            calls=len(times_us),
            total_s=sum(times_us) * 1e-6,
            share=_fraction(sum(times_us), total_us),
        )
        for (op_type, provider), times_us in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row.total_s, row.op_type, row.provider))[:n]


def coverage(nodes: Sequence[NodeTime]) -> Coverage:
    """Sum up what ran where and in which number format."""
    total_us = sum(node.duration_us for node in nodes)
    compute = [node for node in nodes if not is_index_arithmetic(node.op_type, node.output_types)]
    products = [node for node in nodes if is_matmul(node.op_type)]
    time_us: dict[str, float] = defaultdict(float)
    for node in nodes:
        time_us[node.op_type] += node.duration_us
    by_time = sorted(time_us.items(), key=lambda item: (-item[1], item[0]))
    return Coverage(
        nodes=len(nodes),
        time_s=total_us * 1e-6,
        by_provider=_shares(nodes, lambda node: node.provider),
        compute_by_provider=_shares(compute, lambda node: node.provider),
        time_by_op_type={op_type: _fraction(own_us, total_us) for op_type, own_us in by_time},
        matmul_by_precision=_shares(
            products, lambda node: number_format(node.op_type, (*node.input_types, node.kernel.rpartition("_")[2]))
        ),
    )


def violations(found: Coverage, *, provider: str, precision: str) -> list[str]:
    """Say what ran otherwise than the cell's label says; [] where all is as asked.

    Args:
        found: Of a profiled run of the same cell.
        provider: Provider asked for. Arithmetic on shapes may run elsewhere; above 1 % of the rest's time may not.
        precision: Of the artifact, such as fp32 or dynamic-int8; a word that names no number format is not judged,
            nor is one that speaks of the weights alone: what those are multiplied in is the kernel's own choice.
    """
    reasons = []
    elsewhere = {name: share.time for name, share in found.compute_by_provider.items() if name != provider}
    if sum(elsewhere.values()) > _MOST_ELSEWHERE or provider not in found.compute_by_provider:
        parts = ", ".join(f"{_percent(time)} on {name}" for name, time in elsewhere.items())
        reasons.append(f"asked for {provider}, and of the operators' time ran {parts}")
    asked = [name for name in _FORMATS if name in precision and not precision.startswith(_WEIGHTS_ONLY)]
    products = found.matmul_by_precision
    if asked and products:
        parts = ", ".join(f"{_percent(share.time)} in {name}" for name, share in products.items())
        # A quantized graph keeps some products in fp32; of a plain one all must be as the label says.
        if asked[0] == "fp32" and set(products) - {"fp32", "unknown"}:
            reasons.append(f"the artifact is fp32, and not every matrix product ran so: of their time {parts}")
        elif asked[0] != "fp32" and asked[0] not in products:
            reasons.append(
                f"the artifact is {precision}, and no matrix product ran in {asked[0]}: of their time {parts}"
            )
    return reasons


def _events(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MeasurementFailed(f"the profile '{path}' cannot be read: {error}", remedy="trace again") from error
    events: list[dict[str, Any]] = content["traceEvents"] if isinstance(content, dict) else content
    return events


def _in_calls(events: Sequence[dict[str, Any]], skip_calls: int) -> list[dict[str, Any]]:
    """Return what happened inside of the calls; all of it where the profile marks no calls."""
    calls = sorted(
        (event["ts"], event["ts"] + event["dur"])
        for event in events
        if event.get("cat") in ("Session", "user_annotation") and event["name"] == "model_run"
    )
    if not calls:
        return list(events)
    kept = calls[min(skip_calls, len(calls) - 1) :]
    begins_us = [begin_us for begin_us, _ in kept]

    def is_inside(event: dict[str, Any]) -> bool:
        index = bisect.bisect_right(begins_us, event["ts"]) - 1
        return index >= 0 and bool(event["ts"] < kept[index][1])

    return [event for event in events if is_inside(event)]


def _is_operator(event: dict[str, Any]) -> bool:
    is_node = event.get("cat") == "Node" and "op_name" in event.get("args", {})
    return is_node or event.get("cat") == "cpu_op"


def _own_times(events: Iterable[dict[str, Any]]) -> list[tuple[dict[str, Any], float]]:
    """Return operators with the time that is not their callees', which lie inside them on the same thread."""
    operators = sorted(
        (event for event in events if _is_operator(event)), key=lambda event: (event["tid"], event["ts"], -event["dur"])
    )
    own_us = [float(event["dur"]) for event in operators]
    open_ones: list[int] = []
    for index, event in enumerate(operators):
        while open_ones and not _contains(operators[open_ones[-1]], event):
            open_ones.pop()
        if open_ones:
            own_us[open_ones[-1]] -= event["dur"]
        open_ones.append(index)
    return [(event, max(time_us, 0.0)) for event, time_us in zip(operators, own_us, strict=True)]


def _contains(outer: dict[str, Any], inner: dict[str, Any]) -> bool:
    return bool(outer["tid"] == inner["tid"] and inner["ts"] < outer["ts"] + outer["dur"])


def _host_node(event: dict[str, Any], own_us: float) -> NodeTime:
    told = event.get("args", {})
    if event["cat"] == "cpu_op":
        types = tuple(told.get("Input type", ()))
        return NodeTime(
            op_type=event["name"], node=event["name"], provider="torch-eager", duration_us=own_us, input_types=types
        )
    return NodeTime(
        op_type=told["op_name"],
        node=event["name"].removesuffix("_kernel_time"),
        provider=told.get("provider", "unknown"),
        duration_us=own_us,
        input_types=_type_names(told.get("input_type_shape", ())),
        output_types=_type_names(told.get("output_type_shape", ())),
        kernel=told.get("kernel", ""),
    )


def _device_nodes(events: Sequence[dict[str, Any]]) -> list[NodeTime]:
    """Return torch's kernels, each under the operator that launched it; [] where nothing ran on a device."""
    operators = {event["args"].get("External id"): event for event in events if event.get("cat") == "cpu_op"}
    nodes = []
    for event in events:
        if event.get("cat") == "kernel":
            launcher = operators.get(event["args"].get("External id"), {})
            nodes.append(
                NodeTime(
                    op_type=launcher.get("name", "unknown"),
                    node=event["name"],
                    provider="torch-eager",
                    duration_us=float(event["dur"]),
                    input_types=tuple(launcher.get("args", {}).get("Input type", ())),
                )
            )
    return nodes


def _type_names(items: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the types of onnxruntime's lists such as [{"float": [2, 32, 384]}, {"int64": []}]."""
    return tuple(name for item in items for name in item)


def _shares(nodes: Sequence[NodeTime], key: Callable[[NodeTime], str]) -> dict[str, Share]:
    total_us = sum(node.duration_us for node in nodes)
    groups: dict[str, list[float]] = defaultdict(list)
    for node in nodes:
        groups[key(node)].append(node.duration_us)
    return {
        name: Share(nodes=len(times_us) / len(nodes), time=_fraction(sum(times_us), total_us))
        for name, times_us in sorted(groups.items(), key=lambda item: (-sum(item[1]), item[0]))
    }


def _fraction(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _percent(fraction: float) -> str:
    return f"{fraction:.1%}".replace(".0%", "%").replace("%", " %")
