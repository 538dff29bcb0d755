"""Writes that are on the disk when the call returns: the file is synced, then the folder that names it."""

import os
from pathlib import Path

PARTIAL = ".partial"  # suffix of a file that is still being written; whoever finds one may delete it


def write_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whole or not at all. Raises OSError, and then `path` is as it was."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        with _Descriptor(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
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


def sync_folder(path: Path) -> None:
    """Make the names in the folder `path` durable: files that were created, renamed or deleted there."""
    with _Descriptor(path, os.O_RDONLY) as fd:
        os.fsync(fd)


class _Descriptor:
    """An open file descriptor, closed at the end of the block."""

    def __init__(self, path: Path, flags: int) -> None:
        self.fd = os.open(path, flags | os.O_CLOEXEC, 0o644)

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
