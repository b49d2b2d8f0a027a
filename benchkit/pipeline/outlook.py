"""How much of several trainings is done, and when the last of them will be."""

import heapq
import time
from collections.abc import Callable, Sequence

# Below this share of a training, its pace is the pace of its first batches, which tells nothing.
_TELLING_SHARE = 0.01


class Outlook:
    """Foretells the end of work that is done in lanes: what is under way by its own pace, the rest by the others'."""

    def __init__(self, costs: Sequence[float], *, lanes: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Begin to watch.

        Args:
            costs: What each piece of work costs, in any unit that compares them.
            lanes: How many are worked on at once.
            clock_s: Tells the time in seconds.
        """
        self._costs = costs
        self._lanes = lanes
        self._clock_s = clock_s
        self._shares = [0.0] * len(costs)
        self._begun: dict[int, tuple[float, float]] = {}
        self._ended: dict[int, float] = {}

    def told(self, number: int, share: float) -> None:
        """Take the share done of one piece."""
        # A resumed piece starts with a share that took none of our time; one whose share falls begins another phase,
        # whose pace is its own.
        if number not in self._begun or share < self._shares[number]:
            self._begun[number] = (self._clock_s(), share)
        self._shares[number] = share

    def ended(self, number: int) -> None:
        """Take that one piece is over, whether it went well or not."""
        self._ended[number] = self._clock_s()

    def share(self) -> float:
        """Return the share done of everything."""
        done = sum(
            cost * (1.0 if number in self._ended else self._shares[number]) for number, cost in enumerate(self._costs)
        )
        return done / sum(self._costs)

    def left_s(self) -> float | None:
        """Return the seconds until everything is over, None while no piece shows its pace."""
        paces = {number: pace for number in self._begun if (pace := self._pace(number)) is not None}
        if not paces:
            return None
        usual = sum(paces.values()) / len(paces)
        running = [number for number in self._begun if number not in self._ended]
        ends = [(1 - self._shares[number]) * self._costs[number] / paces.get(number, usual) for number in running]
        lanes = heapq.nsmallest(len(ends), ends) + [0.0] * (self._lanes - len(ends))
        heapq.heapify(lanes)
        for number, cost in enumerate(self._costs):
            if number not in self._begun and number not in self._ended:
                heapq.heappush(lanes, heapq.heappop(lanes) + cost / usual)
        return max(lanes)

    def _pace(self, number: int) -> float | None:
        begun_s, first_share = self._begun[number]
        share = self._shares[number] - first_share
        elapsed_s = self._ended.get(number, self._clock_s()) - begun_s
        return share * self._costs[number] / elapsed_s if share >= _TELLING_SHARE and elapsed_s > 0 else None


def in_words(left_s: float) -> str:
    """Return a time left as people say it, such as "about 12 min left"."""
    if left_s < 60:
        return f"about {max(1, round(left_s))} s left"
    minutes = round(left_s / 60)
    return f"about {minutes} min left" if minutes < 90 else f"about {left_s / 3600:.1f} h left"
