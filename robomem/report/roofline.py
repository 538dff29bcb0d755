"""The least time a GPU can take for what it must read and compute: no arrangement of the same arithmetic is faster."""

from collections.abc import Iterable
from typing import NamedTuple

BYTES_PER_S = 4.3e12  # an H200, measured copy
FLOP_PER_S = 790e12  # likewise, measured in bfloat16


class Work(NamedTuple):
    """Weights that meet `tokens` at once, `times` in a row; each weight takes `bytes_each`."""

    parameters: int
    tokens: int
    times: int = 1
    bytes_each: int = 2


def floor_ms(works: Iterable[Work]) -> float:
    """Time [ms] on an H200: the weights are read, or they are computed with, whichever takes longer."""
    seconds = [
        work.times * work.parameters * max(2 * work.tokens / FLOP_PER_S, work.bytes_each / BYTES_PER_S)
        for work in works
    ]
    return sum(seconds) * 1e3
