"""What the numbers of a store look like, field by field, in one pass and bounded memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomem.data.episode import IMAGES, TRUTH
from robomem.data.store import EpisodeStore
from robomem.errors import SpecMismatch

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
BLOCK_TICKS = 64  # read at once
KEPT_ROWS = 200_000  # about this many rows serve for quantiles, evenly spread; all when there are fewer

Row = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FieldStatistics:
    """Of one field: `mean`, `std`, `min`, `max` (w,) and `quantiles` (5, w) at QUANTILES, for each of w numbers a tick.

    An image counts by channel, w = 3, in 0..255. `count` (w,) values were finite; the others are left out.
    """

    mean: Row
    std: Row
    min: Row
    max: Row
    quantiles: NDArray[np.float64]
    count: NDArray[np.int64]


def field_statistics(
    store: EpisodeStore, fields: Iterable[str] | None = None, episodes: Iterable[int] | None = None
) -> dict[str, FieldStatistics]:
    """Statistics of `fields` (default: every field of numbers outside `truth/`) over `episodes` (default: all)."""
    numbers = list(range(len(store)) if episodes is None else episodes)
    if not numbers:
        raise ValueError(f"{store.path} has no episodes to take statistics of")
    if fields is None:
        fields = [name for name, field in store.fields.items() if field.dtype != "str" and not name.startswith(TRUTH)]
    return {name: _statistics(store, name, numbers) for name in fields}


def _statistics(store: EpisodeStore, name: str, episodes: list[int]) -> FieldStatistics:
    ticks = sum(int(store.lengths[number]) for number in episodes)
    moments, kept = _Moments(), []
    for number in episodes:
        length = int(store.lengths[number])
        for start in range(0, length, BLOCK_TICKS):
            stop = min(length, start + BLOCK_TICKS)
            rows = _rows(name, store.read(number, [name], start, stop)[name])
            moments.add(rows)
            step = max(1, -(-ticks * (len(rows) // (stop - start)) // KEPT_ROWS))
            kept.append(rows[::step])
    return moments.statistics(np.concatenate(kept))


def _rows(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    """`values` (T, ...) as rows of numbers (n, w): one a tick, or one a pixel."""
    if values.dtype.kind not in "fiub":
        raise SpecMismatch(f"field '{name}' is text; statistics are of numbers")
    n = values.size // values.shape[-1] if name.startswith(IMAGES) else len(values)
    return values.reshape(n, -1).astype(np.float64)


class _Moments:
    """Count, mean and squared deviation of rows (n, w) that come in parts (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.count: NDArray[np.int64] = np.zeros(1, np.int64)
        self.mean: Row = np.zeros(1)
        self.squares: Row = np.zeros(1)
        self.min: Row = np.full(1, np.inf)
        self.max: Row = np.full(1, -np.inf)

    def add(self, rows: NDArray[np.float64]) -> None:
        finite = np.isfinite(rows)
        count = finite.sum(axis=0)
        mean = np.where(finite, rows, 0).sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(finite, rows - mean, 0) ** 2).sum(axis=0)
        together = np.maximum(self.count + count, 1)
        apart = mean - self.mean
        self.squares = self.squares + squares + apart**2 * self.count * count / together
        self.mean = self.mean + apart * count / together
        self.count = self.count + count
        self.min = np.minimum(self.min, np.where(finite, rows, np.inf).min(axis=0))
        self.max = np.maximum(self.max, np.where(finite, rows, -np.inf).max(axis=0))

    def statistics(self, kept: NDArray[np.float64]) -> FieldStatistics:
        """The statistics, quantiles from the rows `kept`; nan where no value was finite."""
        none = np.full(len(QUANTILES), np.nan)
        columns = [column[np.isfinite(column)] for column in kept.T]
        quantiles = [np.quantile(column, QUANTILES) if len(column) else none for column in columns]
        known = self.count > 0
        std = np.sqrt(self.squares / np.maximum(self.count, 1))
        mean, std, low, high = (np.where(known, value, np.nan) for value in (self.mean, std, self.min, self.max))
        return FieldStatistics(mean, std, low, high, np.stack(quantiles, axis=1), self.count)
