"""Worker processes: jobs in, messages out."""

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from robomem.cli.workers import WorkerError, run_jobs
from robomem.errors import StoreError

HERE = "tests.robomem.cli.test_workers"


def count(upto: int) -> Iterator[dict[str, int]]:
    """Counts, in a worker."""
    sys.stdout.write("not an answer\n")
    yield from ({"n": n, "pid": os.getpid(), "threads": int(os.environ["OMP_NUM_THREADS"])} for n in range(upto))


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


def test_leaving_early_ends_the_workers() -> None:
    messages = run_jobs(f"{HERE}:count", [{"upto": 1_000_000}], workers=1)
    _, message = next(messages)
    messages.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(message["pid"], 0)
