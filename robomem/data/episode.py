"""An episode as a value: named arrays over the same ticks, and notes."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

FIELD_NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
DTYPES = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")
IMAGES = "images/"  # fields under this prefix are one camera each
TRUTH = "truth/"  # fields under this prefix are known to a simulator only; they may differ between episodes


class Field(NamedTuple):
    """What one field holds per tick: `dtype` ("str" for text) and `shape` without the time axis."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


@dataclass(frozen=True, eq=False)
class Episode:
    """What one episode holds: `arrays` name -> (T, ...), all of one length T, and `info`, plain JSON values.

    An array is boolean, integer, float or text; names are parts between slashes, such as "images/front".
    Raises ValueError for anything else.
    """

    arrays: Mapping[str, NDArray[Any]]
    info: Mapping[str, Any]

    def __post_init__(self) -> None:
        lengths = {name: len(array) if array.ndim else None for name, array in self.arrays.items()}
        if len(set(lengths.values())) != 1 or not all(lengths.values()):
            raise ValueError(f"an episode's arrays need one common length of at least 1, got {lengths}")
        for name, array in self.arrays.items():
            if not FIELD_NAME.fullmatch(name):
                raise ValueError(f"field '{name}': a name is letters, digits, _ and -, in parts between /")
            if any(other.startswith(name + "/") for other in self.arrays):
                raise ValueError(f"field '{name}' is also the folder of another field")
            if array.dtype.kind != "U" and array.dtype.name not in DTYPES:
                raise ValueError(f"field '{name}' is {array.dtype}, expected text or one of: {', '.join(DTYPES)}")
            if 0 in array.shape:
                raise ValueError(f"field '{name}' is empty: its shape is {array.shape}")
        try:
            json.dumps(dict(self.info), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"info must be plain JSON values: {error}") from None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def fields(self) -> dict[str, Field]:
        """What it holds per tick, by name."""
        return {
            name: Field("str" if array.dtype.kind == "U" else array.dtype.name, array.shape[1:])
            for name, array in self.arrays.items()
        }


def first_difference(fields: Mapping[str, Field], expected: Mapping[str, Field]) -> str | None:
    """In words, the first field that is not as in `expected`, `truth/...` apart; None when all are."""
    names = (name for name in sorted(fields.keys() | expected.keys()) if not name.startswith(TRUTH))
    for name in names:
        have, want = fields.get(name, "missing"), expected.get(name, "no such field")
        if have != want:
            return f"field '{name}' is {have}, expected {want}"
    return None
