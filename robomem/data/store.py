"""A store of episodes: a folder that survives kill -9, a full disk and a lost power cord.

    zarr.json               a zarr 3 group whose attributes hold the schema version and the store's own notes
    ledger.jsonl            one line for every acknowledged episode
    writer.lock             locked while a writer is open
    episodes/000000.zip     one episode each, see episode_file.py

An append writes and syncs the episode's file, renames it, syncs the folder, then appends and syncs its ledger line.
"""

import fcntl
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

from robomem.data.durable import PARTIAL, sync_folder, write_file
from robomem.data.episode_file import Episode, EpisodeFile, Field, encode
from robomem.data.ledger import LedgerWriter, Record, read_ledger
from robomem.errors import StoreError

log = logging.getLogger(__name__)

FORMAT = "robomem-episodes"
SCHEMA = 1
LEDGER, LOCK, ROOT, EPISODES = "ledger.jsonl", "writer.lock", "zarr.json", "episodes"
DAMAGED = ".damaged"  # suffix of an episode file that repair set aside
OPEN_FILES = 256  # episode files whose directories are kept in memory


class EpisodeStore:
    """The episodes at `path`. Any number may read, in any process and also while one writes; one may write.

    `cut` says, in one sentence each, what a crash had left unfinished and was cut, kept or set aside at open.
    """

    @classmethod
    def create(cls, path: Path | str, meta: Mapping[str, Any] | None = None) -> Self:
        """A new, empty store at `path`, open for writing; `meta` are notes of the store itself, plain JSON values."""
        path = Path(path)
        if path.exists() and any(path.iterdir()):
            raise StoreError(f"{path} is not empty; open it with write=True, or choose another folder")
        root = {"zarr_format": 3, "node_type": "group"}
        attributes = {"format": FORMAT, "schema": SCHEMA, "meta": dict(meta or {})}
        (path / EPISODES).mkdir(parents=True, exist_ok=True)
        write_file(path / LEDGER, b"")
        write_file(path / LOCK, b"")
        write_file(path / ROOT, json.dumps({**root, "attributes": attributes}, allow_nan=False, indent=2).encode())
        sync_folder(path.parent)
        return cls(path, write=True)

    @classmethod
    def open(cls, path: Path | str, write: bool = False) -> Self:
        """The store at `path`. A writer cuts what a crash left; a reader leaves it out and changes nothing."""
        return cls(Path(path), write)

    def __init__(self, path: Path, write: bool) -> None:
        self.path = path
        self.meta = _read_root(path)
        self.cut: tuple[str, ...] = ()
        self._files: OrderedDict[int, EpisodeFile] = OrderedDict()
        self._files_lock = Lock()
        self._lock = _lock_for_writing(path) if write else None
        self._ledger: LedgerWriter | None = None
        try:
            self._records, good = read_ledger(path / LEDGER)
            self._check_files()
            if write:
                self._ledger = self._recover(good)
            elif good < (path / LEDGER).stat().st_size:
                self._say(f"{path / LEDGER}: left out a torn last line")
        except BaseException:
            self.close()
            raise

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
        """Per-tick type and shape of the fields that every episode has; `truth/...` may differ between episodes."""
        return self.file(0).fields if self._records else {}

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
        """The open file of one episode."""
        record = self._record(episode)
        with self._files_lock:
            if episode in self._files:
                self._files.move_to_end(episode)
                return self._files[episode]
        file = EpisodeFile(self.path / EPISODES / record.file, record.size, record.directory_crc)
        with self._files_lock:
            self._files[episode] = file
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)
        return file

    def verify(self) -> None:
        """Read everything. Raises StoreError at the first damage."""
        for episode in range(len(self)):
            self.file(episode).verify()

    def append(self, episode: Episode) -> int:
        """Save `episode` and return its number; when this returns, no crash can lose it.

        Raises StoreError when it could not be saved (a full disk, say); the store is then as it was.
        """
        if self._ledger is None:
            raise StoreError(f"{self.path} is open for reading; open it with write=True to append")
        self._check_fields(episode)
        path = self.path / EPISODES / f"{self._next_number():06d}.zip"
        try:
            write_file(path, encode(episode))
            file = EpisodeFile(path)
            self._ledger.append(_record_of(file))
        except OSError as error:
            path.unlink(missing_ok=True)
            saved = f"the {len(self)} episodes before it are safe"
            raise StoreError(f"episode {len(self)} was not saved in {self.path}: {error}; {saved}") from error
        self._records.append(_record_of(file))
        return len(self) - 1

    def refresh(self) -> int:
        """See the episodes that a writer appended since; returns how many there are now."""
        self._records, _ = read_ledger(self.path / LEDGER)
        return len(self)

    def _record(self, episode: int) -> Record:
        if not 0 <= episode < len(self._records):
            raise StoreError(f"{self.path} has no episode {episode}; episodes: 0 to {len(self) - 1}")
        return self._records[episode]

    def _next_number(self) -> int:
        return int(Path(self._records[-1].file).stem) + 1 if self._records else 0

    def _check_fields(self, episode: Episode) -> None:
        """Every episode has the fields of the first, `truth/...` apart."""
        if not self._records:
            return
        known = {name: field for name, field in self.fields.items() if not name.startswith("truth/")}
        given = {
            name: Field("str" if array.dtype.kind == "U" else array.dtype.name, array.shape[1:])
            for name, array in episode.arrays.items()
            if not name.startswith("truth/")
        }
        wrong = sorted(name for name in known.keys() | given.keys() if known.get(name) != given.get(name))
        if wrong:
            name = wrong[0]
            raise StoreError(
                f"field '{name}' is {given.get(name, 'missing')}, {self.path} holds {known.get(name, 'no such field')}"
            )

    def _check_files(self) -> None:
        """Every acknowledged episode has its file."""
        there = {path.name for path in (self.path / EPISODES).iterdir()}
        for record in self._records:
            if record.file not in there:
                EpisodeFile(self.path / EPISODES / record.file)  # raises, with the repair

    def _recover(self, good: int) -> LedgerWriter:
        """Cut what the last writer left unfinished, keep what it finished without saying so."""
        torn = (self.path / LEDGER).stat().st_size - good
        ledger = LedgerWriter(self.path / LEDGER, good)
        if torn:
            self._say(f"{self.path / LEDGER}: cut a torn last line of {torn} bytes")
        known = {record.file for record in self._records}
        for path in sorted((self.path / EPISODES).iterdir()):
            if path.name.endswith(PARTIAL):
                path.unlink()
                self._say(f"{path}: cut, it was not finished")
            elif path.suffix == ".zip" and path.name not in known:
                self._adopt(path, ledger)
        sync_folder(self.path / EPISODES)
        return ledger

    def _adopt(self, path: Path, ledger: LedgerWriter) -> None:
        """Acknowledge the episode at `path`, which a crash left out of the ledger; set it aside when it is damaged."""
        try:
            file = EpisodeFile(path)
            file.verify()
        except StoreError as error:
            path.replace(path.with_name(path.name + DAMAGED))
            self._say(f"{error}; it was never acknowledged and is set aside as {path.name}{DAMAGED}")
            return
        ledger.append(_record_of(file))
        self._records.append(_record_of(file))
        self._say(f"{path}: kept, it was complete but not yet acknowledged")

    def _say(self, sentence: str) -> None:
        log.warning("%s", sentence)
        self.cut = (*self.cut, sentence)


def _record_of(file: EpisodeFile) -> Record:
    return Record(file.path.name, file.length, file.size, file.directory_crc, file.info)


def _read_root(path: Path) -> Mapping[str, Any]:
    """The notes of the store at `path`. Raises StoreError when it is none, or of another version."""
    try:
        attributes = json.loads((path / ROOT).read_bytes())["attributes"]
        form, schema, meta = attributes["format"], attributes["schema"], attributes["meta"]
    except FileNotFoundError:
        raise StoreError(f"{path} is not an episode store: it has no {ROOT}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreError(f"{path / ROOT} is damaged or not of an episode store") from None
    if form != FORMAT or not isinstance(meta, dict):
        raise StoreError(f"{path} holds '{form}', expected '{FORMAT}'")
    if schema != SCHEMA:
        raise StoreError(f"{path} has schema {schema}, this version reads schema {SCHEMA}: collect it again")
    return meta


def _lock_for_writing(path: Path) -> int:
    """The writer's lock, held until it is closed or the process ends, however it ends."""
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace") or "another process"
        os.close(lock)
        raise StoreError(f"{path} is already being written by {holder}; wait for it, or choose another store") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()}".encode(), 0)
    return lock
