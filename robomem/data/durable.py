"""Writes that are on the disk when the call returns: the file is synced, then the folder that names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"  # suffix of a file that is still being written; what a crash leaves under it may be deleted


def write_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whole or not at all. Raises OSError, and then `path` is as it was."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        with _opened(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            write_all(fd, data)
            os.fsync(fd)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte of `data`; a disk that fills half way raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def make_folder(path: Path) -> None:
    """Make the folder `path` and those above it that are not there."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in the folder `path` durable: files that were created, renamed or deleted there."""
    with _opened(path, os.O_RDONLY) as fd:
        os.fsync(fd)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """A file descriptor of `path`, closed at the end of the block."""
    fd = os.open(path, flags | os.O_CLOEXEC, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)
