"""A process that collects until it is killed, for the tests that kill it.

`python -m tests.robomem.data.collector STORE` forks a child for every line on stdin. The child opens (or creates) the
store, prints `child PID`, appends `make_episode(n)` for n = 0, 1, ... for ever, and prints `acknowledged n` after each;
the parent prints `dead` when the child has ended. Forking saves 50 imports.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import zarr  # noqa: F401, imported before the fork so that no child has to

from robomem.data.layout import ROOT
from robomem.data.store import EpisodeStore
from tests.robomem.data.content import make_episode


class Collector:
    """The process above, from the side of the test."""

    def __init__(self, store: Path) -> None:
        command = [sys.executable, "-m", "tests.robomem.data.collector", str(store)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Collector":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def kill_after(self, episodes: int, seconds: float) -> list[int]:
        """Collect, kill -9 `seconds` after so many were acknowledged; returns all that were."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline().removeprefix("child "))
        acknowledged = [self._acknowledged(self._process.stdout.readline()) for _ in range(episodes)]
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        while (line := self._process.stdout.readline()) != "dead\n":
            acknowledged.append(self._acknowledged(line))
        return acknowledged

    @staticmethod
    def _acknowledged(line: str) -> int:
        return int(line.removeprefix("acknowledged "))


def collect(path: Path) -> None:
    """Append until killed."""
    with EpisodeStore.open(path, write=True) if (path / ROOT).exists() else EpisodeStore.create(path) as store:
        while True:
            number = store.append(make_episode(len(store), size=8))
            os.write(1, f"acknowledged {number}\n".encode())


def main(path: Path) -> None:
    """Fork a collecting child for every line on stdin."""
    for _ in sys.stdin:
        if (pid := os.fork()) == 0:
            os.write(1, f"child {os.getpid()}\n".encode())
            collect(path)
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
