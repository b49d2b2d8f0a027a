import pytest

from benchkit.pipeline.outlook import Outlook, in_words


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_one_piece_goes_on_at_its_own_pace() -> None:
    clock = Clock()
    outlook = Outlook([5.0], lanes=1, clock_s=clock)
    assert outlook.left_s() is None
    outlook.told(0, 0.0)
    assert outlook.left_s() is None
    clock.now_s = 10.0
    outlook.told(0, 0.25)
    assert outlook.left_s() == pytest.approx(30.0)
    assert outlook.share() == pytest.approx(0.25)


def test_what_has_not_begun_takes_the_others_pace() -> None:
    clock = Clock()
    outlook = Outlook([1.0, 1.0, 2.0], lanes=2, clock_s=clock)
    outlook.told(0, 0.0)
    outlook.told(1, 0.0)
    clock.now_s = 10.0
    outlook.told(0, 0.5)
    outlook.told(1, 0.5)
    # Each of the two needs 10 s more; the third, twice as large, takes 40 s behind one of them.
    assert outlook.left_s() == pytest.approx(50.0)
    assert outlook.share() == pytest.approx(0.25)


def test_lanes_that_run_empty_bring_nothing() -> None:
    """The share done per second falls at the end, when fewer run; a rate of everything would promise too much."""
    clock = Clock()
    outlook = Outlook([1.0, 1.0], lanes=2, clock_s=clock)
    outlook.told(0, 0.0)
    outlook.told(1, 0.0)
    clock.now_s = 10.0
    outlook.told(0, 1.0)
    outlook.ended(0)
    outlook.told(1, 0.2)
    assert outlook.left_s() == pytest.approx(40.0)


def test_a_resumed_piece_is_not_faster_than_it_is() -> None:
    clock = Clock()
    outlook = Outlook([1.0], lanes=1, clock_s=clock)
    outlook.told(0, 0.5)
    clock.now_s = 10.0
    outlook.told(0, 0.6)
    assert outlook.left_s() == pytest.approx(40.0)


def test_a_second_phase_has_a_pace_of_its_own() -> None:
    """A teacher answers first, in its own count from 0 to 1."""
    clock = Clock()
    outlook = Outlook([1.0], lanes=1, clock_s=clock)
    outlook.told(0, 0.0)
    clock.now_s = 1.0
    outlook.told(0, 1.0)
    clock.now_s = 2.0
    outlook.told(0, 0.0)
    clock.now_s = 12.0
    outlook.told(0, 0.1)
    assert outlook.left_s() == pytest.approx(90.0)


def test_what_failed_is_over() -> None:
    clock = Clock()
    outlook = Outlook([1.0, 1.0], lanes=1, clock_s=clock)
    outlook.ended(0)
    assert outlook.share() == pytest.approx(0.5)
    outlook.told(1, 0.0)
    clock.now_s = 4.0
    outlook.told(1, 0.5)
    assert outlook.left_s() == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("left_s", "said"),
    [(0.1, "about 1 s left"), (59, "about 59 s left"), (200, "about 3 min left"), (7200, "about 2.0 h left")],
)
def test_in_words(left_s: float, said: str) -> None:
    assert in_words(left_s) == said
