"""The list of acknowledged episodes, one checksummed line each; an episode exists when its line does."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from google_crc32c import value as crc32c

from robomem.data.durable import write_all
from robomem.errors import StoreError


@dataclass(frozen=True)
class Record:
    """One acknowledged episode: its file, `size` and `directory_crc` of that file, its `length` [ticks] and info."""

    file: str
    length: int
    size: int
    directory_crc: int
    info: Mapping[str, Any]

    def line(self) -> bytes:
        """The record as it stands in the ledger."""
        text = json.dumps(asdict(self), allow_nan=False, separators=(",", ":")).encode()
        return b"%08x %s\n" % (crc32c(text), text)


def read_ledger(path: Path) -> tuple[list[Record], int]:
    """The records of the ledger at `path`, and how many of its bytes they take; bytes after those are a torn line.

    Raises StoreError for a line that is damaged but not torn: it was acknowledged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; EpisodeStore.repair('{path.parent}') rebuilds it") from None
    records: list[Record] = []
    good = 0
    while (end := data.find(b"\n", good)) >= 0:
        record = _parse(data[good:end])
        if record is None:
            repair = f"EpisodeStore.repair('{path.parent}') rebuilds it from the episodes"
            raise StoreError(f"{path} line {len(records) + 1} is damaged; {repair}")
        records.append(record)
        good = end + 1
    return records, good


def _parse(line: bytes) -> Record | None:
    """The record of one line without its newline; None when the checksum or the form is wrong."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % crc32c(text):
        return None
    try:
        return Record(**json.loads(text))
    except (TypeError, ValueError):
        return None


class LedgerWriter:
    """Appends to the ledger at `path`, from `offset` bytes on; what lay beyond is cut."""

    def __init__(self, path: Path, offset: int) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self._offset = offset
        self._cut()

    def append(self, record: Record) -> None:
        """Make `record` durable. Raises OSError, and then the ledger is as it was."""
        line = record.line()
        try:
            write_all(self.fd, line)
            os.fsync(self.fd)
        except OSError:
            self._cut()
            raise
        self._offset += len(line)

    def close(self) -> None:
        """Release the file."""
        os.close(self.fd)

    def _cut(self) -> None:
        os.ftruncate(self.fd, self._offset)
        os.lseek(self.fd, self._offset, os.SEEK_SET)
        os.fsync(self.fd)
