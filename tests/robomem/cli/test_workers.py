"""Worker processes: jobs in, messages out."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robomem.cli.workers import WorkerError, run_jobs
from robomem.errors import StoreError

HERE = "tests.robomem.cli.test_workers"


def count(upto: int) -> Iterator[dict[str, int]]:
    """Counts, in a worker."""
    sys.stdout.write("not an answer\n")
    yield from ({"n": n, "pid": os.getpid(), "threads": int(os.environ["OMP_NUM_THREADS"])} for n in range(upto))


def outlive(folder: str, waits: bool) -> Iterator[dict[str, int]]:
    """How many of two workers live: at the end of one job, and when that job's worker has ended or 30 s are over."""
    mark = Path(folder) / str(os.getpid())
    mark.touch()
    while len(list(Path(folder).iterdir())) < 2:
        time.sleep(0.01)
    deadline = time.monotonic() + 30
    while waits and _living(folder) == 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    yield {"left": _living(folder)}


def _living(folder: str) -> int:
    return sum(_lives(int(mark.name)) for mark in Path(folder).iterdir())


def _lives(pid: int) -> bool:
    """False also for a process that has ended and that nobody has asked about yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def fail(why: str) -> Iterator[dict[str, Any]]:
    """Fails in one of three ways, in a worker."""
    yield {"so": "far"}
    if why == "error":
        raise StoreError("no such store 'x'; stores: a, b")
    if why == "bug":
        raise RuntimeError("a bug")
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_job_is_done_once_and_its_messages_keep_their_order() -> None:
    got: dict[int, list[int]] = {2: [], 3: [], 5: []}
    pids = set()
    for job, message in run_jobs(f"{HERE}:count", [{"upto": n} for n in got], workers=2):
        got[job["upto"]].append(message["n"])
        pids.add(message["pid"])
    assert got == {n: list(range(n)) for n in got}
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids


def test_a_worker_with_nothing_left_to_do_ends_while_others_go_on(tmp_path: Path) -> None:
    jobs = [{"folder": str(tmp_path), "waits": waits} for waits in (False, True)]
    assert [message["left"] for _, message in run_jobs(f"{HERE}:outlive", jobs, workers=2)] == [2, 1]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_computes_on_one_thread(workers: int) -> None:
    messages = [message for _, message in run_jobs(f"{HERE}:count", [{"upto": 1}], workers)]
    assert [message["threads"] for message in messages] == [1]


@pytest.mark.parametrize(
    ("why", "words"),
    [("error", "no such store 'x'; stores: a, b"), ("bug", "status 1: RuntimeError: a bug"), ("kill", "status -9")],
)
def test_a_worker_that_fails_says_why(why: str, words: str) -> None:
    with pytest.raises(WorkerError, match=words):
        list(run_jobs(f"{HERE}:fail", [{"why": why}, {"why": why}], workers=1))


def test_a_worker_that_dies_between_jobs_says_why() -> None:
    pids: list[int] = []

    def jobs() -> Iterator[dict[str, int]]:
        yield {"upto": 1}
        os.kill(pids[0], signal.SIGKILL)
        while _lives(pids[0]):
            time.sleep(0.01)
        yield {"upto": 1}

    with pytest.raises(WorkerError, match="status -9"):
        for _, message in run_jobs(f"{HERE}:count", jobs(), workers=1):
            pids.append(message["pid"])


def test_leaving_early_ends_the_workers() -> None:
    messages = run_jobs(f"{HERE}:count", [{"upto": 1_000_000}], workers=1)
    _, message = next(messages)
    messages.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(message["pid"], 0)
