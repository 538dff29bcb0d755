"""The folder of an episode store: its names, its root file and its writer's lock.

zarr.json               a zarr 3 group whose attributes hold the schema version and the store's own notes
ledger.jsonl            one checksummed line for every acknowledged episode, see ledger.py
writer.lock             locked while a writer is open
episodes/000000.zip     one episode each, see episode_file.py
"""

import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google_crc32c import value as crc32c

from robomem.data.durable import PARTIAL, write_file
from robomem.errors import StoreError

FORMAT = "robomem-episodes"
SCHEMA = 1
ROOT, LEDGER, LOCK, EPISODES = "zarr.json", "ledger.jsonl", "writer.lock", "episodes"
LOCK_PATIENCE = 3.0  # s that a killed writer may take to be gone, on a busy machine
DAMAGED = ".damaged"  # suffix of an episode file that was set aside


def is_vacant(path: Path) -> bool:
    """True when `path` is not there, empty, or a store whose creation was cut short."""
    if not path.exists():
        return True
    unfinished = {LEDGER, LOCK, EPISODES, *(name + PARTIAL for name in (ROOT, LEDGER, LOCK))}
    return path.is_dir() and {entry.name for entry in path.iterdir()} <= unfinished and not episode_files(path)


def episode_files(path: Path) -> list[Path]:
    """Every file in the episodes folder of the store at `path`, in order of name."""
    folder = path / EPISODES
    return sorted(folder.iterdir()) if folder.is_dir() else []


def write_root(path: Path, meta: Mapping[str, Any]) -> None:
    """Write the root file; a store exists when it does."""
    attributes = {"format": FORMAT, "schema": SCHEMA, "meta": dict(meta), "meta_crc32c": _checksum(meta)}
    root = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    write_file(path / ROOT, json.dumps(root, allow_nan=False, indent=2).encode())


def read_root(path: Path) -> Mapping[str, Any]:
    """The notes of the store at `path`. Raises StoreError when it is none, or of another version."""
    try:
        attributes = json.loads((path / ROOT).read_bytes())["attributes"]
        form, schema, meta = attributes["format"], attributes["schema"], attributes["meta"]
        checksum = attributes["meta_crc32c"]
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{path} is not an episode store: it has no {ROOT}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreError(f"{path / ROOT} is not the root of an episode store (format '{FORMAT}')") from None
    if form != FORMAT or not isinstance(meta, dict):
        raise StoreError(f"{path} holds '{form}', expected '{FORMAT}'")
    if schema != SCHEMA:
        raise StoreError(f"{path} has schema {schema}, this version reads schema {SCHEMA}: collect it again")
    if checksum != _checksum(meta):
        raise StoreError(f"{path / ROOT} is damaged: its notes have a wrong checksum; restore it from a copy")
    return meta


def _checksum(meta: Mapping[str, Any]) -> int:
    return int(crc32c(json.dumps(meta, allow_nan=False, sort_keys=True).encode()))


def lock_for_writing(path: Path) -> int:
    """The writer's lock, a file descriptor: held until it is closed or the process ends, however it ends.

    Raises StoreError when another writer holds it.
    """
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    due = time.monotonic() + LOCK_PATIENCE
    while not _is_locked(lock):
        if time.monotonic() > due:
            holder = os.pread(lock, 32, 0).decode(errors="replace") or "another process"
            os.close(lock)
            raise StoreError(f"{path} is already being written by {holder}; wait for it, or choose another store")
        time.sleep(0.01)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()}".encode(), 0)
    return lock


def _is_locked(lock: int) -> bool:
    """Lock the file, if nobody else has."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
