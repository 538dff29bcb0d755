"""A store of episodes that survives kill -9, a full disk and a lost power cord.

An append writes and syncs the episode's file, renames it, syncs the folder, then appends and syncs its ledger line;
only then does it return. The layout of the folder is in layout.py.
"""

import hashlib
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from robomem.data.durable import make_folder, write_file
from robomem.data.episode import Episode, Field, first_difference
from robomem.data.episode_file import EpisodeFile, encode
from robomem.data.layout import EPISODES, LEDGER, is_vacant, lock_for_writing, read_root, write_root
from robomem.data.ledger import LedgerWriter, Record
from robomem.data.recovery import load_ledger, open_record, record_of, repair, resume, unfinished
from robomem.errors import StoreError

log = logging.getLogger(__name__)

OPEN_FILES = 256  # episode files whose directories are kept in memory


class EpisodeStore:
    """The episodes at `path`. Any number may read, in any process and also while one writes; one may write.

    `cut` says, in one sentence each, what a crash had left unfinished and what was done about it at open.
    """

    @classmethod
    def create(cls, path: Path | str, meta: Mapping[str, Any] | None = None) -> Self:
        """A new, empty store at `path`, open for writing; `meta` are notes of the store itself, plain JSON values."""
        path = Path(path)
        if not is_vacant(path):
            raise StoreError(f"{path} is not empty; open it with write=True, or choose another folder")
        try:
            make_folder(path / EPISODES)
            write_file(path / LEDGER, b"")
            write_root(path, meta or {})
        except OSError as error:
            raise StoreError(f"{path} cannot be created: {error.strerror}") from error
        return cls(path, write=True)

    @classmethod
    def open(cls, path: Path | str, write: bool = False) -> Self:
        """The store at `path`. A writer cuts what a crash left; a reader leaves it out and changes nothing."""
        return cls(Path(path), write)

    @classmethod
    def repair(cls, path: Path | str) -> tuple[str, ...]:
        """Make the store at `path` whole again: damaged episodes are set aside, the ledger is rebuilt from the others.

        Returns what was done, in one sentence each; nothing when nothing was wrong. Raises StoreError where there are
        no episodes to rebuild a store from; the folder is then as it was.
        """
        if not (Path(path) / EPISODES).is_dir():
            raise StoreError(f"{path} is not an episode store: it has no folder '{EPISODES}' to repair it from")
        lock = lock_for_writing(Path(path))
        try:
            return tuple(repair(Path(path)))
        finally:
            os.close(lock)

    def __init__(self, path: Path, write: bool) -> None:
        self.path = path
        self.meta = read_root(path)
        self._files: OrderedDict[str, EpisodeFile] = OrderedDict()
        self._files_lock = Lock()
        self._ledger: LedgerWriter | None = None
        self._lock = lock_for_writing(path) if write else None
        try:
            ledger = load_ledger(path, heal=write)
            self._records = list(ledger.records)
            if write:
                self._ledger, self._records, said = resume(path, ledger)
            else:
                said = unfinished(path, ledger)
        except BaseException:
            self.close()
            raise
        self.cut = tuple(said)
        for sentence in said:
            log.warning("%s", sentence)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the writer's lock; allowed any number of times. Reading still works."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __len__(self) -> int:
        return len(self._records)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Ticks of every episode, (len(self),)."""
        return np.array([record.length for record in self._records], np.int64)

    @property
    def fields(self) -> dict[str, Field]:
        """Per-tick type and shape of the fields of the first episode; in others only `truth/...` may differ."""
        return self.file(0).fields if self._records else {}

    def identity(self) -> str:
        """16 hexadecimal digits that change with the store's notes and with anything in any episode; reads no file."""
        sha256 = hashlib.sha256(json.dumps(self.meta, sort_keys=True).encode())
        for record in self._records:
            sha256.update(record.line())
        return sha256.hexdigest()[:16]

    def info(self, episode: int) -> Mapping[str, Any]:
        """The notes of one episode."""
        return self._record(episode).info

    def read(
        self, episode: int, fields: Iterable[str] | None = None, start: int = 0, stop: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Ticks `start` to `stop` (default: all) of `fields` (default: all) of one episode."""
        file = self.file(episode)
        return {name: file.read(name, start, stop) for name in (file.arrays if fields is None else fields)}

    def file(self, episode: int) -> EpisodeFile:
        """The file of one episode, its directory read and checked."""
        record = self._record(episode)
        with self._files_lock:
            if record.file in self._files:
                self._files.move_to_end(record.file)
                return self._files[record.file]
        file = open_record(self.path, record)
        with self._files_lock:
            self._files[record.file] = file
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)
        return file

    def verify(self) -> None:
        """Read everything. Raises StoreError at the first damage."""
        for record in self._records:
            open_record(self.path, record).verify()

    def append(self, episode: Episode) -> int:
        """Save `episode` and return its number; when this returns, no crash can lose it.

        Raises StoreError when it could not be saved (a full disk, say), ValueError when it has a part that is larger
        than any file may hold; the store is then as it was.
        """
        if self._ledger is None:
            raise StoreError(f"{self.path} is not open for writing; open it with write=True to append")
        if self._records and (difference := first_difference(episode.fields, self.fields)):
            raise StoreError(f"{self.path}: {difference}")
        number = max((record.number for record in self._records), default=-1) + 1
        path = self.path / EPISODES / f"{number:06d}.zip"
        data = encode(episode)
        try:
            write_file(path, data)
            record = record_of(EpisodeFile(path))
            self._ledger.append(record)
        except OSError as error:
            self._forget(path, self._ledger.broken)
            saved = f"the {len(self)} episodes before it are safe"
            raise StoreError(f"{path} was not saved: {error.strerror}; {saved}") from error
        self._records.append(record)
        return len(self) - 1

    def refresh(self) -> int:
        """See the episodes that a writer appended since; returns how many there are now."""
        if self._ledger is None:
            self._records = list(load_ledger(self.path, heal=False).records)
        return len(self)

    def _forget(self, path: Path, broken: bool) -> None:
        """Take back the file of an episode that was not saved, unless the ledger might name it."""
        if broken:
            self.close()
        else:
            path.unlink(missing_ok=True)

    def _record(self, episode: int) -> Record:
        if not 0 <= episode < len(self._records):
            raise StoreError(f"{self.path} has no episode {episode}; it holds {len(self)}, numbered from 0")
        return self._records[episode]
