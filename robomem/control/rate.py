"""Absolute deadlines, and how late each was met."""

import math
from array import array

import numpy as np

from robomem.interfaces import Clock

PERCENTILES = {"p50": 50.0, "p99": 99.0, "p999": 99.9, "max": 100.0}


class Rate:
    """Deadlines every 1 / `hz` seconds from the first `wait`.

    They are counted from the first, so that error does not add up. A deadline that passed by more than a period is
    skipped, not made up for: two commands in one breath would move the arm at twice its speed. Keeps 8 bytes a tick.
    """

    def __init__(self, clock: Clock, hz: float) -> None:
        if not (math.isfinite(hz) and hz > 0):
            raise ValueError(f"hz is {hz}, expected a finite rate above 0")
        self.period = 1.0 / hz
        self.skipped = 0
        self._clock = clock
        self._start: float | None = None
        self._next = 0
        self._lateness = array("d")

    def wait(self) -> float:
        """Sleeps until the next deadline; returns how late it is met [s]. The first is now."""
        if self._start is None:
            self._start = self._clock.now()
        due = self._start + self._next * self.period
        self._clock.sleep_until(due)
        late_s = max(0.0, self._clock.now() - due)
        skipped = int(late_s / self.period)
        self.skipped += skipped
        self._next += 1 + skipped
        self._lateness.append(late_s)
        return late_s

    def lateness_us(self) -> dict[str, float]:
        """p50, p99, p999 and max of the lateness [us]; all 0 before the first tick."""
        if not self._lateness:
            return dict.fromkeys(PERCENTILES, 0.0)
        seconds = np.frombuffer(self._lateness)
        return {name: float(np.percentile(seconds, share)) * 1e6 for name, share in PERCENTILES.items()}
