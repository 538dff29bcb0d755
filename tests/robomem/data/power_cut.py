"""A disk that forgets what was not synced: the folders that a cut of power may leave behind.

Every write, sync, rename and unlink below a folder is watched. `states` are then the folders that may be found after a
cut just before each of these calls: with everything, with only what was synced, with synced names whose data was not
(the classic empty file), and with data whose new names were lost. A write may also stop half way.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

CALLS = ("open", "write", "fsync", "replace", "rename", "unlink", "ftruncate", "mkdir")
Tree = dict[str, bytes]  # path below the folder -> content; folders end in "/" and have none


@dataclass(frozen=True)
class State:
    """One folder that a cut may leave; `done` is what `progress` said at that moment."""

    tree: Tree
    done: int
    call: str

    def put(self, folder: Path) -> Path:
        """Make `folder` that state."""
        folder.mkdir(parents=True)
        for name in sorted(self.tree):
            if name.endswith("/"):
                (folder / name).mkdir(exist_ok=True)
        for name, data in self.tree.items():
            if not name.endswith("/"):
                (folder / name).write_bytes(data)
        return folder


class Killed(BaseException):
    """Raised by every watched call once the process counts as killed."""


class PowerCut:
    """Watches `root`; what is there at first counts as synced. `progress` is read at every state.

    From the call number `kill_at` on every call fails, as if the process had been killed, until `revive`.
    """

    def __init__(self, root: Path, kill_at: int | None = None) -> None:
        self._calls_left = kill_at
        self.states: list[State] = []
        self.progress = 0
        self._root = root
        self._real = {name: getattr(os, name) for name in CALLS}
        self._birth: dict[int, int] = {}  # inode -> how often its number was given to a new file
        self._data: dict[tuple[int, int], bytes] = {}  # synced content
        self._names: dict[str, dict[str, tuple[int, int]]] = {}  # synced folders: name -> file
        for folder, _, files in os.walk(root):
            self._names[folder] = self._listing(folder)
            for name in files:
                path = Path(folder, name)
                self._data[self._key(path)] = path.read_bytes()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block, calls below the folder are watched."""
        for name in CALLS:
            setattr(os, name, getattr(self, f"_{name}"))
        try:
            yield
        finally:
            for name, call in self._real.items():
                setattr(os, name, call)
            self._remember("end")

    def revive(self, progress: int) -> None:
        """A new process on the same machine: what was not synced is still there, and still only in memory."""
        self.states.clear()
        self.progress = progress
        self._calls_left = None

    def _key(self, path: Path | str) -> tuple[int, int]:
        inode = Path(path).stat().st_ino
        return inode, self._birth.get(inode, 0)

    def _listing(self, folder: str) -> dict[str, tuple[int, int]]:
        return {entry.name: self._key(entry.path) for entry in os.scandir(folder)}

    def _remember(self, call: str) -> None:
        for names, data in product(("all", "synced"), repeat=2):
            tree: Tree = {}
            self._walk(str(self._root), "", names == "synced", data == "synced", tree)
            self.states.append(State(tree, self.progress, f"{call}, {names} names, {data} data"))

    def _walk(self, folder: str, below: str, synced_names: bool, synced_data: bool, tree: Tree) -> None:
        now = {self._key(entry.path): entry for entry in os.scandir(folder)} if Path(folder).is_dir() else {}
        listing = self._names.get(folder, {}) if synced_names else {e.name: key for key, e in now.items()}
        for name, key in listing.items():
            path = str(Path(folder, name))
            if path in self._names or (key in now and now[key].is_dir()):
                tree[below + name + "/"] = b""
                self._walk(path, below + name + "/", synced_names, synced_data, tree)
            elif synced_data or key not in now:
                tree[below + name] = self._data.get(key, b"")
            else:
                tree[below + name] = Path(now[key].path).read_bytes()

    def _is_below(self, path: object) -> bool:
        return str(self._root) in os.fspath(path) if isinstance(path, str | os.PathLike) else False

    def _before(self, call: str, path: object) -> bool:
        if watched := self._is_below(path):
            self._remember(f"before {call} of {Path(os.fspath(path)).name}")
            if self._calls_left is not None:
                self._calls_left -= 1
                if self._calls_left <= 0:
                    raise Killed
        return watched

    def _open(self, path, flags, mode=0o777, *, dir_fd=None):
        new = self._is_below(path) and flags & os.O_CREAT and not Path(path).exists()
        if new or (flags & os.O_TRUNC and self._is_below(path)):
            self._before("open", path)
        fd = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        if new:
            inode = os.fstat(fd).st_ino
            self._birth[inode] = self._birth.get(inode, 0) + 1
        return fd

    def _write(self, fd, data):
        if not self._before("write", name := _name(fd)):
            return self._real["write"](fd, data)
        half = self._real["write"](fd, data[: len(data) // 2])
        self._before("the rest of the write", name)
        return half + self._real["write"](fd, data[half:])

    def _fsync(self, fd):
        name = _name(fd)
        self._before("fsync", name)
        self._real["fsync"](fd)
        if Path(name).is_dir():
            self._names[name] = self._listing(name)
        elif self._is_below(name):
            self._data[self._key(name)] = Path(name).read_bytes()

    def _ftruncate(self, fd, size):
        self._before("ftruncate", _name(fd))
        self._real["ftruncate"](fd, size)

    def _replace(self, source, target, **options):
        self._before("replace", source)
        self._real["replace"](source, target, **options)

    def _rename(self, source, target, **options):
        self._before("rename", source)
        self._real["rename"](source, target, **options)

    def _unlink(self, path, **options):
        self._before("unlink", path)
        self._real["unlink"](path, **options)

    def _mkdir(self, path, *arguments, **options):
        self._before("mkdir", path)
        self._real["mkdir"](path, *arguments, **options)


def _name(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115, a descriptor has no Path
