"""Progress of long work: bars on a terminal, a line now and then in a log."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY = 30.0  # s between the lines of a log


class Shown:
    """Named bars; use as a context manager."""

    def __init__(self, totals: Mapping[str, int], console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._totals, self._done = dict(totals), dict.fromkeys(totals, 0)
        self._start = self._last_line = time.monotonic()
        columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        note = TextColumn("{task.fields[note]}")
        self._progress = Progress(
            *columns, TimeRemainingColumn(), note, console=self._console, disable=not self._console.is_terminal
        )
        self._bars: dict[str, TaskID] = {
            name: self._progress.add_task(name, total=total, note="") for name, total in totals.items()
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()
        if not self._console.is_terminal:
            self._print_line()

    def advance(self, name: str, note: str = "", steps: int = 1) -> None:
        """`steps` more of `name` are done; `note` says how it goes."""
        self._done[name] += steps
        self._progress.update(self._bars[name], advance=steps, note=note)
        if not self._console.is_terminal and time.monotonic() - self._last_line > LINE_EVERY:
            self._print_line(note)

    def _print_line(self, note: str = "") -> None:
        self._last_line = time.monotonic()
        done = ", ".join(f"{name} {self._done[name]}/{total}" for name, total in self._totals.items())
        self._console.print(f"{self._last_line - self._start:6.0f} s  {done}  {note}".rstrip(), soft_wrap=True)
