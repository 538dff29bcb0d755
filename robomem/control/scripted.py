"""Scripts in the place of a person."""

from collections.abc import Callable, Sequence

from robomem.interfaces import Clock
from robomem.types import End, Event, Start, Stop


class ScriptedOperator:
    """Says each event of `script` (time [s] since the first poll, event) when its time has come."""

    def __init__(self, clock: Clock, script: Sequence[tuple[float, Event]]) -> None:
        self._clock = clock
        self._script = sorted(script, key=lambda entry: entry[0])
        self._start: float | None = None

    def poll(self) -> Sequence[Event]:
        """Events that have become due, in order of time."""
        now = self._clock.now()
        if self._start is None:
            self._start = now
        due = [event for t, event in self._script if t <= now - self._start]
        self._script = self._script[len(due) :]
        return due


class EpisodeOperator:
    """Starts one episode under `instruction`, and ends it and the run when `finished` says so."""

    def __init__(self, instruction: str, finished: Callable[[], bool]) -> None:
        self._ahead: list[Event] = [Start(instruction)]
        self._finished = finished
        self._over = False

    def poll(self) -> Sequence[Event]:
        """Start at first; End and Stop once `finished`; else nothing."""
        events, self._ahead = self._ahead, []
        if not self._over and not events and self._finished():
            self._over = True
            return [End(), Stop()]
        return events
