"""When queries arrive: drawn or laid out before the run, so that no answer can move a question.

Serving the queries is left to `open_loop`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from benchkit.core.errors import BenchkitError

Arrivals = npt.NDArray[np.int64]


def poisson_arrivals_ns(
    rate_per_s: float, *, duration_s: float | None = None, count: int | None = None, seed: int
) -> Arrivals:
    """Draw a Poisson process: independent exponential gaps, the first arrival one gap after 0.

    The realised number of arrivals a second varies by 1 / sqrt(n), as that of independent users does. A schedule
    of the same seed at another rate is the same one, stretched: comparisons of rates see the same bursts.

    Args:
        rate_per_s: Mean queries a second.
        duration_s: Arrivals from here on are left out.
        count: Most arrivals. At least one of `duration_s` and `count` must be given.
        seed: Seed of the gaps.

    Returns:
        int64 array of shape (n,): nanoseconds after the start, ascending. It may be empty when `duration_s` is short.

    Raises:
        BenchkitError: The rate is not above 0, or nothing bounds the schedule.

    Source: MLPerf LoadGen, scenario Server, draws the same way (exponential gaps of a seeded generator).
    """
    _check_rate(rate_per_s)
    if duration_s is None and count is None:
        raise BenchkitError("an arrival schedule without an end", remedy="give a duration or a number of queries")
    generator = np.random.default_rng(seed)
    if count is not None:
        at_s = np.cumsum(generator.standard_exponential(count)) / rate_per_s
    else:
        assert duration_s is not None
        at_s = np.zeros(0)
        while not len(at_s) or at_s[-1] < duration_s:
            # Blocks of a fixed size: a longer schedule begins with exactly the shorter one's arrivals.
            gaps_s = generator.standard_exponential(1024) / rate_per_s
            at_s = np.concatenate([at_s, np.cumsum(gaps_s) + (at_s[-1] if len(at_s) else 0.0)])
    if duration_s is not None:
        at_s = at_s[at_s < duration_s]
    return _whole_ns(at_s * 1e9)


def even_arrivals_ns(rate_per_s: float, count: int) -> Arrivals:
    """Lay out arrivals at a fixed spacing, the first one gap after 0: the low-rate mode.

    Fixed, because the question is what one request costs after an idle stretch of known length (cold caches, sleeping
    threads, low clocks). Poisson gaps would mix many lengths, and now and then queue two requests.

    Args:
        rate_per_s: Queries a second.
        count: Number of arrivals.

    Returns:
        int64 array of shape (count,): nanoseconds after the start, ascending.

    Raises:
        BenchkitError: The rate is not above 0.
    """
    _check_rate(rate_per_s)
    return _whole_ns(np.arange(1, count + 1) * (1e9 / rate_per_s))


def _whole_ns(values_ns: npt.NDArray[np.floating[Any]]) -> Arrivals:
    return np.asarray(np.rint(values_ns), dtype=np.int64)


def _check_rate(rate_per_s: float) -> None:
    if not 0 < rate_per_s < float("inf"):
        raise BenchkitError(f"a rate of {rate_per_s:g} queries a second", remedy="ask for a rate above 0")
