"""A simulation held back to real time."""

import time

from robomem.interfaces import Clock


class PacedClock:
    """Steps `clock` and then waits for the wall clock: what is late is really late. Times start where `clock` is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._zero: float | None = None

    def now(self) -> float:
        """Wall time [s] since the first call, which gives the present time of `clock`."""
        if self._zero is None:
            self._zero = time.monotonic() - self._clock.now()
            return self._clock.now()
        return time.monotonic() - self._zero

    def sleep_until(self, t: float) -> None:
        """Return at `t` [s], or as soon as `clock` can be there."""
        self._clock.sleep_until(t)
        time.sleep(max(0.0, t - self.now()))
