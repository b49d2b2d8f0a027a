"""How many independent values a series of calls is worth."""

import numpy as np
import numpy.typing as npt

_NEGLIGIBLE = 0.02  # The first autocorrelation at or below it ends the sum: what follows is noise.
_MAX_LAG = 200


def autocorrelation_time(values: npt.NDArray[np.float64], threshold: float) -> float:
    """Return tau >= 1 of the indicator `value > threshold`, in calls.

    tau = 1 + 2 * (sum of the indicator's autocorrelations up to the first negligible one), over lags of
    at most a quarter of the series: the number of calls that carry the information of one.
    """
    above = (values > threshold).astype(np.float64)
    centred = above - above.mean()
    variance = float(centred @ centred)
    if variance == 0:
        return 1.0
    total = 0.0
    for lag in range(1, min(len(values) // 4, _MAX_LAG) + 1):
        correlation = float(centred[:-lag] @ centred[lag:]) / variance
        if correlation <= _NEGLIGIBLE:
            break
        total += correlation
    return 1 + 2 * total


def effective_n(runs: list[npt.NDArray[np.float64]], threshold: float) -> int:
    """Return the sum over the runs of floor(n / tau), the independent calls they are worth."""
    return sum(int(len(run) / autocorrelation_time(run, threshold)) for run in runs)
