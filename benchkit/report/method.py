# ruff: noqa: RUF001 - the formulas are written with the letters that readers know them by.
"""How the figures were made, for the reader who doubts them. The formulas themselves are code in `benchkit.stats`."""

from benchkit.report.cells import Listing

# One paragraph a row: its first line is the name, the rest the explanation.
_TEXT = """
Latency
One call in flight, in a fresh process for each run; cells take turns, so that a drift of the machine does not fall on
one artifact. Warm-up calls are left out. It is the time of one call, of the batch size shown.

Percentiles
Nearest rank on the raw values of all runs, x(⌈q·n⌉): a latency that really occurred, never interpolated.

Bounds of a percentile
One-sided, α = 0.05 each. Upper rank k = binom.ppf(1 − α, n, q) + 1, lower rank k = binom.ppf(α, n, q), taken for
n_eff = Σ ⌊n / τ⌋ independent values and mapped back to n; τ = 1 + 2·Σρ of the indicator x > quantile. No distribution
is assumed.

Between processes
From 5 runs on, the signed-rank bound of the median of the runs' log percentiles counts too; the worse of the two
bounds is printed.

Too few values
A percentile whose upper bound is not finite is not printed. The smallest n_eff: 5 for p50, 29 for p90, 59 for p95,
299 for p99.

Response time
Of scenario server: calls arrive by a seeded Poisson process whatever the system does, and wait while it is busy. It
counts from the scheduled arrival, so that the queue is part of it; latency, which leaves the queue out, is no part of
such a row. Little's law is checked in every run. Scenario low-rate leaves the machine idle between calls.

Sustained rate
The largest rate of arrivals whose p99 of the response time kept the bound, searched by bisection, and confirmed with
arrivals of its own before it is given.

Throughput, CPU time
From a window of calls back to back, apart from the timed calls; the median over runs, never 1 / latency.

Peak memory
The kernel's high-water mark of the worker's resident memory, the largest over processes, in a pass of its own. The
interpreter and its imports are part of it; their share is drawn beside it, not subtracted.

Cold start
From exec to the first inference in fresh processes, by turns with the model's files dropped from the page cache (cold)
and read before (warm).

Padding
The share of tokens that are padding; real tokens leave it out. Policies: all to one length (max), to the longest of the
batch (longest), batches of neighbours in length (bucketed), to the next of a few lengths (grid).

Energy
Read from a counter or not given at all. It is never estimated from a power rating. Gross is all that the counter's
scope spent; net leaves out the idle power, where idle before and after agree.

Roofline
What a call does, in closed form, over the time it took, held against the peak that the same machine showed with the
same number of threads: of the products in the row's number format, or of the memory where that is the lower roof.

Best of many
The least of many figures is partly luck. A row is called best only when its bound, at α divided by the number of rows,
lies beyond the bounds of all others; and it stays so only when a fresh comparison agrees.

Score
Of the very artifact that was profiled, on every example of the split; accuracy, F1, Matthews, Pearson and Spearman as
GLUE defines them, in percent. Bounds are one-sided, α = 0.05 each, over the examples. Two artifacts with overlapping
bounds may still differ: only a comparison paired on the same examples can tell.

Digits
Between two and four, as the width of the bounds supports; bounds are rounded outwards to the same place.
Scores and sizes are exact for the files at hand and have three; a score's bounds speak of other examples like these.

Pareto front
★ marks a row that no other row of the same task, host, batch size and sequence length beats in score or latency
without losing in the other. It compares estimates. Void rows are never on it.
"""


def _rows(text: str) -> tuple[tuple[str, str], ...]:
    paragraphs = [paragraph.partition("\n") for paragraph in text.strip().split("\n\n")]
    return tuple((name, " ".join(explanation.split())) for name, _, explanation in paragraphs)


METHOD = Listing(title="Method", heads=("what", "how"), rows=_rows(_TEXT))
