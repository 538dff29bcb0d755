"""Deadlines on a clock whose every reading the test chooses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robomem.control.rate import Rate

BINARY = 0.25  # s, exact in floating point


class LateClock:
    """A clock on which sleeping ends late by the next of `delays` [s]."""

    def __init__(self, delays: list[float], start: float = 100.0) -> None:
        self.t = start
        self.delays = iter(delays)
        self.deadlines: list[float] = []

    def now(self) -> float:
        return self.t

    def sleep_until(self, t: float) -> None:
        self.deadlines.append(t)
        self.t = max(self.t, t) + next(self.delays)


def test_the_first_deadline_is_now() -> None:
    clock = LateClock([0.0])
    assert Rate(clock, 4).wait() == 0.0
    assert clock.deadlines == [100.0]


def test_lateness_does_not_move_later_deadlines() -> None:
    clock = LateClock([0.0, 0.125, 0.0625, 0.0])
    rate = Rate(clock, 4)
    assert [rate.wait() for _ in range(4)] == [0.0, 0.125, 0.0625, 0.0]
    assert clock.deadlines == [100.0, 100.25, 100.5, 100.75]
    assert rate.skipped == 0


def test_work_that_overruns_counts_as_late() -> None:
    clock = LateClock([0.0, 0.0])
    rate = Rate(clock, 4)
    rate.wait()
    clock.t += 0.375
    assert rate.wait() == 0.125


@pytest.mark.parametrize(
    ("delay", "skipped", "following"), [(0.2499, 0, 100.5), (0.25, 1, 100.75), (0.49, 1, 100.75), (0.5, 2, 101.0)]
)
def test_a_deadline_that_has_passed_is_skipped(delay: float, skipped: int, following: float) -> None:
    clock = LateClock([0.0, delay, 0.0])
    rate = Rate(clock, 4)
    for _ in range(3):
        rate.wait()
    assert rate.skipped == skipped
    assert clock.deadlines[2] == following


def test_a_clock_that_wakes_early_is_not_late() -> None:
    assert Rate(LateClock([-0.001]), 4).wait() == 0.0


def test_a_hundred_thousand_deadlines_later_the_error_has_not_grown() -> None:
    clock = LateClock([0.0] * 100_001, start=0.0)
    rate = Rate(clock, 30)
    for _ in range(100_001):
        rate.wait()
    assert clock.deadlines[-1] == pytest.approx(100_000 / 30, abs=1e-9)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=50))
def test_deadlines_rise_by_whole_periods_and_never_fall_behind(delays: list[float]) -> None:
    clock = LateClock(list(delays))
    rate = Rate(clock, 1 / BINARY)
    for _ in delays:
        before = clock.t
        rate.wait()
        assert clock.deadlines[-1] > before - BINARY
    steps = [(t - 100.0) / BINARY for t in clock.deadlines]
    assert all(step == round(step) for step in steps)
    assert sorted(set(steps)) == steps


def test_lateness_is_told_by_percentiles() -> None:
    rate = Rate(LateClock([i * 1e-6 for i in range(1001)]), 10)
    assert rate.lateness_us() == {"p50": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}
    for _ in range(1001):
        rate.wait()
    expected = {"p50": 500.0, "p99": 990.0, "p999": 999.0, "max": 1000.0}
    assert rate.lateness_us() == pytest.approx(expected, abs=1e-3)


def test_a_rate_below_one_is_a_rate() -> None:
    assert Rate(LateClock([]), 0.5).period == 2.0


@pytest.mark.parametrize("hz", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_is_not_above_zero_is_an_error(hz: float) -> None:
    with pytest.raises(ValueError, match=r"hz is .*, expected a finite rate above 0"):
        Rate(LateClock([]), hz)
