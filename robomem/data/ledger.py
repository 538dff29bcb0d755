"""The list of acknowledged episodes, one checksummed line each; an episode exists when its line does."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from google_crc32c import value as crc32c

from robomem.data.durable import write_all
from robomem.errors import StoreError

FILE_NAME = re.compile(r"\d{6,}\.zip")
MAX_BYTES = 512 * 1024 * 1024  # of the whole ledger: about a million episodes


@dataclass(frozen=True)
class Record:
    """One acknowledged episode: its file, `size` and `directory_crc` of that file, its `length` [ticks] and info."""

    file: str
    length: int
    size: int
    directory_crc: int
    info: Mapping[str, Any]

    @property
    def number(self) -> int:
        """The number in the file's name; a later episode has a greater one."""
        return int(self.file.removesuffix(".zip"))

    def line(self) -> bytes:
        """The record as it stands in the ledger."""
        text = json.dumps(asdict(self), allow_nan=False, separators=(",", ":")).encode()
        return b"%08x %s\n" % (crc32c(text), text)


@dataclass(frozen=True)
class Ledger:
    """What a ledger file holds: the `records` of its good lines, and the numbers (from 1) of its `damaged` lines.

    `good` bytes come before the tail, which is an unfinished line or a damaged last one and has `torn` bytes.
    """

    records: tuple[Record, ...]
    damaged: tuple[int, ...]
    good: int
    torn: int


def read_ledger(path: Path) -> Ledger:
    """The ledger at `path`. Raises OSError, or StoreError when it is larger than any ledger."""
    if path.stat().st_size > MAX_BYTES:
        raise StoreError(f"{path} has {path.stat().st_size} bytes, more than any ledger ({MAX_BYTES})")
    *lines, rest = path.read_bytes().split(b"\n")
    records = [_parse(line) for line in lines]
    damaged = tuple(number for number, record in enumerate(records, start=1) if record is None)
    torn = len(rest) + (len(lines[-1]) + 1 if lines and records[-1] is None else 0)
    whole = sum(len(line) + 1 for line in lines) + len(rest)
    return Ledger(tuple(record for record in records if record is not None), damaged, whole - torn, torn)


def _parse(line: bytes) -> Record | None:
    """The record of one line without its newline; None when the checksum or the form is wrong."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % crc32c(text):
        return None
    try:
        record = Record(**json.loads(text))
        numbers = (record.length, record.size, record.directory_crc)
        good = all(isinstance(n, int) and n >= 0 for n in numbers) and isinstance(record.info, dict)
        return record if good and FILE_NAME.fullmatch(record.file) else None
    except (TypeError, ValueError):
        return None


class LedgerWriter:
    """Appends to the ledger at `path`, from `offset` bytes on; what lay beyond is cut.

    `broken` once a failed append could not be undone: what is on the disk is unknown, and nothing more is appended.
    """

    def __init__(self, path: Path, offset: int) -> None:
        self.broken = False
        self._offset = offset
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._cut()
        except BaseException:
            self.close()
            raise

    def append(self, record: Record) -> None:
        """Make `record` durable. Raises OSError, and then the ledger is as it was unless it is `broken`."""
        line = record.line()
        try:
            write_all(self._fd, line)
            os.fsync(self._fd)
        except BaseException:
            self.broken = True
            self._cut()
            self.broken = False
            raise
        self._offset += len(line)

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)

    def _cut(self) -> None:
        os.ftruncate(self._fd, self._offset)
        os.lseek(self._fd, self._offset, os.SEEK_SET)
        os.fsync(self._fd)
