"""A comparison in a few lines for people: the verdict first, then what it stands on."""

import math

from benchkit.judge.compare import Comparison
from benchkit.judge.pairs import Compared
from benchkit.judge.score_pairs import ScoreComparison
from benchkit.stats.signed_rank import Centre


def comparison_in_words(compared: Compared, quantity: str, statistic: str | None = None) -> str:
    """Return the lines that `benchkit compare` prints."""
    comparison = compared.comparison
    what = f"{quantity} {statistic}" if statistic else quantity
    lines = [f"{comparison.verdict}: {comparison.reason}"]
    lines += _of_pairs(comparison, what)
    if comparison.repeat is not None:
        lines += [f"  repeat: {comparison.repeat.verdict}", *_of_pairs(comparison.repeat, what)]
    if compared.score is not None:
        lines += _of_scores(compared.score)
    return "\n".join(lines)


def _of_pairs(comparison: Comparison, what: str) -> list[str]:
    left = len(comparison.triples) - comparison.pairs
    ended = f", ended by {comparison.ended}" if comparison.ended else ""
    unjudged = f"; {left} more after the last look are kept and not judged" if left else ""
    lines = [
        f"  {what}, B / A: {_ratio(comparison.ratio)}, {comparison.pairs} pairs{ended}{unjudged}",
        f"  control, A' / A: {_ratio(comparison.control)}",
        f"  found with 80 % power: an increase of {_share(comparison.detectable)} with these pairs",
    ]
    if comparison.drift.detail is not None:
        lines.append(f"  {comparison.drift.detail}")
    return lines


def _of_scores(score: ScoreComparison) -> list[str]:
    lines = [f"score {score.verdict}: {score.reason}"]
    for name, difference in score.differences.items():
        if difference.value is None:
            lines.append(f"  {score.task} {name}: {difference.reason}")
            continue
        bounds = "no bounds"
        if difference.low is not None and difference.high is not None:
            bounds = f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}"
        change = f"{100 * difference.value:+.2f} points ({bounds}), {difference.n:,} examples"
        lines.append(f"  {score.task} {name}, B - A: {change}")
        if difference.p_value is not None:
            discordant = f"right by B alone: {difference.gained}, by A alone: {difference.lost}"
            lines.append(f"  {discordant}, McNemar p = {difference.p_value:.3g}")
    if score.detectable is not None:
        points = f"{100 * score.detectable:.2f} points"
        lines.append(f"  told from none with 80 % power, at the disagreement seen: a difference of {points}")
    return lines


def _ratio(centre: Centre) -> str:
    if centre.low is None or centre.high is None:
        return f"{centre.estimate:.3f} (no bounds)"
    return f"{centre.estimate:.3f} ({centre.low:.3f}-{centre.high:.3f})"


def _share(share: float) -> str:
    return "any size is not known" if math.isinf(share) else f"{share:.1%}"
