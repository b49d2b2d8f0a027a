"""How much of what the machine can do a model attains, and what holds it back: its arithmetic or the memory.

The peaks are measured by `peaks`; the closed forms of the encoders stand in `core.architectures`.

Source: Williams, Waterman and Patterson, Roofline: an insightful visual performance model, CACM 52(4), 2009.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from benchkit.bench.roofs.peaks import Peaks
from benchkit.core.architectures import Architecture
from benchkit.core.artifacts import Artifact
from benchkit.core.records import Measured, Measurement, NotMeasured
from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.summaries import measured

# Above this share of a measured peak, the call or the peak was measured wrongly.
_IMPOSSIBLE_SHARE = 1.05

# Encoders whose layers are four square products, two attention products and a two-layer feed-forward part.
_BERT_LIKE = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")

# In which data types a graph of some precision multiplies. A quantized graph keeps attention's own products (4 S^2 H
# of a layer's operations) in fp32, and a half-precision graph runs in fp32 where a kernel is missing; the highest of
# the peaks is the roof under which all of its parts lie. fp16 has bf16's rate wherever a CPU has both.
_TYPES_BY_PRECISION = {"fp32": ("fp32",), "unknown": ("fp32",), "bf16": ("bf16", "fp32"), "fp16": ("bf16", "fp32")}
_INT8_TYPES = ("int8", "fp32")
_WEIGHT_BYTES = {"fp32": 4.0, "unknown": 4.0, "bf16": 2.0, "fp16": 2.0, "weight-int4": 0.5}
_ACTIVATION_BYTES = 4  # Between operators a CPU graph keeps fp32, quantized or not.


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """One model in one cell under the machine's roof.

    Attributes:
        attained_flops_per_s: What the model did.
        arithmetic_intensity: Operations per byte that must pass between memory and processor.
        ceiling_flops_per_s: What the machine could do at that intensity.
        share: Attained of the ceiling.
        bound_by: Which roof is the lower one.
        data_type: Whose peak the compute roof is.
        warning: What is wrong when the share is impossible; None otherwise.
        notes: What the figures leave out.
    """

    attained_flops_per_s: float
    arithmetic_intensity: float
    ceiling_flops_per_s: float
    share: float
    bound_by: Literal["compute", "memory"]
    data_type: str
    warning: str | None = None
    notes: tuple[str, ...] = ()


def roofline(
    flops_per_call: float, bytes_per_call: float, call_s: float, precision: str, peaks: Peaks
) -> Roofline | NotMeasured:
    """Hold one call against the machine's peaks.

    Args:
        flops_per_call: Operations of one call, a multiply-add as two.
        bytes_per_call: Least traffic of one call with memory.
        call_s: Duration of one call.
        precision: Of the artifact: "fp32", "dynamic-int8", "bf16" ...
        peaks: Measured at the thread count of the call.

    Returns:
        The roofline, or why there is none: the peak that counts was not measured.
    """
    types = _types_of(precision)
    if types[0] not in peaks.gemm_flops_per_s:
        why = peaks.missing.get(types[0], "it was not measured")
        return NotMeasured(
            reason="no_peak",
            detail=f"the peak of {types[0]} products is not known here: {why}",
            remedy="pip install 'benchkit[cpu,openvino]', then benchkit doctor --peaks",
        )
    data_type = max((name for name in types if name in peaks.gemm_flops_per_s), key=peaks.gemm_flops_per_s.__getitem__)
    compute, notes = peaks.gemm_flops_per_s[data_type], list(_notes(precision))
    intensity = flops_per_call / bytes_per_call
    memory = _memory_roof(bytes_per_call, intensity, peaks, notes)
    ceiling = compute if memory is None else min(compute, memory)
    attained = flops_per_call / call_s
    share = attained / ceiling
    return Roofline(
        attained_flops_per_s=attained,
        arithmetic_intensity=intensity,
        ceiling_flops_per_s=ceiling,
        share=share,
        bound_by="compute" if ceiling == compute else "memory",
        data_type=data_type,
        warning=_warning(share, peaks) if share > _IMPOSSIBLE_SHARE else None,
        notes=tuple(notes),
    )


def encoder_work(
    config: Mapping[str, Any], *, precision: str, batch_size: int, sequence_length: float
) -> tuple[float, float] | NotMeasured:
    """Return operations and least memory traffic of one call, from `config.json`.

    Traffic in bytes, with L layers of width H, feed-forward width I, batch B, S tokens, and b bytes a weight:
    b L (4 H^2 + 2 H I) for the matrices, once a call; 4 L (9 H + I) for biases and norms; 4 B S H for the embeddings
    looked up; 2 x 4 B S H L for what each layer takes in and gives out. What a layer keeps inside counts nothing, so
    that the memory roof is never too low.

    Args:
        config: As in a checkpoint folder.
        precision: Of the artifact.
        batch_size: Examples per call.
        sequence_length: Tokens per example, padding included; a mean where lengths differ.
    """
    shape = encoder_shape(config)
    if isinstance(shape, NotMeasured):
        return shape
    width, wide, layers = shape.hidden_size, shape.intermediate_size, shape.layers
    weight_bytes = 1.0 if "int8" in precision else _WEIGHT_BYTES.get(precision, 4.0)
    matrices = weight_bytes * layers * (4 * width**2 + 2 * width * wide)
    vectors = _ACTIVATION_BYTES * layers * (9 * width + wide)
    activations = _ACTIVATION_BYTES * batch_size * sequence_length * width * (1 + 2 * layers)
    return _flops(shape, batch_size, sequence_length), matrices + vectors + activations


def encoder_shape(config: Mapping[str, Any]) -> Architecture | NotMeasured:
    """Return the shape that `config.json` describes, or why its work is in no closed form here."""
    family = str(config.get("model_type", ""))
    if family not in _BERT_LIKE:
        detail = f"no closed form for model type '{family}'" if family else "no config.json beside the graph"
        return NotMeasured(
            reason="unknown_work",
            detail=f"the operations of this model are not known: {detail}",
            remedy=f"give a folder with the config.json of one of {', '.join(_BERT_LIKE)}",
        )
    names = ("dim", "hidden_dim", "n_layers", "n_heads")
    if family != "distilbert":
        names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes = [config.get(name) for name in names]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        return NotMeasured(
            reason="unknown_work",
            detail=f"config.json lacks one of {', '.join(names)}",
            remedy="take config.json from where the model was made",
        )
    width, wide, layers, heads = (int(str(size)) for size in sizes)
    return Architecture(
        name=family,
        family="distilbert" if family == "distilbert" else "bert",
        layers=layers,
        hidden_size=width,
        heads=heads,
        intermediate_size=wide,
        hub_id="",
    )


def flops_per_call(artifact: Artifact, batch_size: int, sequence_length: float) -> float | None:
    """Return the operations of one call of an artifact, None where its config does not tell."""
    shape = encoder_shape(artifact.config())
    return None if isinstance(shape, NotMeasured) else _flops(shape, batch_size, sequence_length)


def attained(
    found: Mapping[str, Measurement],
    artifact: Artifact,
    batch_size: int,
    sequence_length: float,
    peaks: Peaks | None,
    *,
    alpha: float = ALPHA,
) -> dict[str, Measurement]:
    """Return `attained_flops` and `roofline_share` of a measured cell, one value for each process.

    Both come from the saturated window (throughput), where nothing but calls is in the time.

    Args:
        found: What was measured, throughput among it.
        artifact: What was run.
        batch_size: Examples per call.
        sequence_length: Tokens per example, padding included.
        peaks: Measured at the cell's thread count; None where they were not.
        alpha: One-sided error of each bound.
    """
    work = encoder_work(
        artifact.config(),
        precision=artifact.manifest.precision,
        batch_size=batch_size,
        sequence_length=sequence_length,
    )
    throughput = found.get("throughput")
    if not isinstance(throughput, Measured):
        work = NotMeasured(reason="no_throughput", detail="throughput was not measured", remedy="see its own reason")
    if isinstance(work, NotMeasured) or not isinstance(throughput, Measured):
        assert isinstance(work, NotMeasured)
        return {"attained_flops": work, "roofline_share": work}
    calls_per_s = [[value / batch_size for value in run] for run in throughput.runs]
    rates = [[_rounded(work[0] * value) for value in run] for run in calls_per_s]
    return {
        "attained_flops": measured("attained_flops", rates, alpha=alpha),
        "roofline_share": _shares(work, calls_per_s, artifact.manifest.precision, peaks, alpha),
    }


def _shares(
    work: tuple[float, float], calls_per_s: list[list[float]], precision: str, peaks: Peaks | None, alpha: float
) -> Measurement:
    if peaks is None:
        return NotMeasured(
            reason="no_peaks",
            detail="the peaks of this device were not measured",
            remedy="measure on the CPU: peaks of GPUs are not measured by this version",
        )
    flops, traffic_bytes = work
    roofs = [[roofline(flops, traffic_bytes, 1 / value, precision, peaks) for value in run] for run in calls_per_s]
    first = roofs[0][0]
    if isinstance(first, NotMeasured):
        return first
    under = [[roof for roof in run if isinstance(roof, Roofline)] for run in roofs]
    share = measured("roofline_share", [[_rounded(roof.share) for roof in run] for run in under], alpha=alpha)
    worst = max((roof for run in under for roof in run), key=lambda roof: roof.share)
    return share.model_copy(
        update={
            "details": {
                **share.details,
                "ceiling_flops_per_s": first.ceiling_flops_per_s,
                "arithmetic_intensity_flops_per_byte": _rounded(first.arithmetic_intensity),
                "bound_by": first.bound_by,
                "data_type": first.data_type,
                "library": peaks.library.get(first.data_type),
                "flops_per_call": flops,
                "bytes_per_call": traffic_bytes,
                "notes": list(first.notes),
                "warning": worst.warning,
            }
        }
    )


def _types_of(precision: str) -> tuple[str, ...]:
    return _INT8_TYPES if _is_integer(precision) else _TYPES_BY_PRECISION.get(precision, ("fp32",))


def _is_integer(precision: str) -> bool:
    """Whether factors are multiplied as integers of 8 bits; weights of 4 bits are widened to those."""
    return "int8" in precision or "int4" in precision


def _notes(precision: str) -> list[str]:
    if _is_integer(precision):
        return ["attention's own products and what lies between the products run in fp32, under the int8 roof here"]
    if precision not in _TYPES_BY_PRECISION or precision == "unknown":
        return [f"precision '{precision}' is held against the peak of fp32"]
    return ["fp16 is held against the peak of bf16"] if precision == "fp16" else []


def _memory_roof(bytes_per_call: float, intensity: float, peaks: Peaks, notes: list[str]) -> float | None:
    """Return the roof of main memory; None where no byte has to come from there, or its speed is not known."""
    if peaks.bandwidth_bytes_per_s is None:
        notes.append(f"memory bandwidth was not measured: {peaks.missing.get('bandwidth', 'no reason kept')}")
        return None
    if peaks.cache_bytes is not None and bytes_per_call <= peaks.cache_bytes:
        notes.append(f"all of it fits into the last cache of {peaks.cache_bytes / 2**20:.0f} MiB")
        return None
    return intensity * peaks.bandwidth_bytes_per_s


def _warning(share: float, peaks: Peaks) -> str:
    told = f"the model attains {share:.0%} of what the machine can do: something is wrong with the measurement"
    if peaks.disturbed:
        return f"{told}, perhaps of the peaks, which were disturbed ({peaks.noise[0]}): run benchkit doctor --peaks"
    return told


def _flops(shape: Architecture, batch_size: int, sequence_length: float) -> float:
    """Return the operations of a call; a mean length that is no whole number lies between its neighbours.

    The work is convex in the length, so for lengths that differ this is a little low (4 L H times their variance).
    """
    below = int(sequence_length)
    low, high = shape.flops(batch_size, below), shape.flops(batch_size, below + 1)
    return low + (high - low) * (sequence_length - below)


def _rounded(value: float) -> float:
    return float(f"{value:.9g}")
