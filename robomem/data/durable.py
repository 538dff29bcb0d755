"""Writes that are on the disk when the call returns: the file is synced, then the folder that names it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"  # suffix of a file that is still being written; what a crash leaves under it may be deleted


def write_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whole or not at all. Raises OSError, and then `path` is as it was."""

    def write(partial: Path) -> None:
        with _opened(partial, os.O_WRONLY) as fd:
            write_all(fd, data)

    replace_file(path, write)


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Put at `path` what `write(temporary path)` leaves there, whole or not at all, as readable as any new file.

    Raises what `write` raises, or OSError, and then `path` is as it was.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        partial.unlink(missing_ok=True)
        with _opened(partial, os.O_WRONLY | os.O_CREAT) as fd:
            mode = os.fstat(fd).st_mode
        write(partial)
        partial.chmod(mode)  # safetensors would leave it to its owner alone
        with _opened(partial, os.O_RDONLY) as fd:
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


def cut_torn_line(path: Path) -> None:
    """Cut what a kill left of a last line: what comes next starts on a line of its own. `path` may be missing."""
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


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
    fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        yield fd
    finally:
        os.close(fd)
