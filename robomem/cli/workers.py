"""Worker processes that take jobs one after another: JSON lines in and out, so a job reads the same in a log.

The parent calls `run_jobs`; a worker is `python -m robomem.cli.workers module:function`. `function(**job)` yields
messages, plain JSON values. What a worker prints otherwise goes to its standard error.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from importlib import import_module
from typing import Any

from robomem.errors import RobomemError

Job = Mapping[str, Any]
Message = dict[str, Any]


class WorkerError(RobomemError):
    """A worker process that failed or died; the message is its own last words."""


def run_jobs(function: str, jobs: Iterable[Job], workers: int) -> Iterator[tuple[Job, Message]]:
    """Runs `jobs` on at most `workers` processes; yields each message with its job as it comes.

    A worker computes on one thread, so that results do not depend on how many there are. Leaving the iteration, by an
    exception or not, ends the workers.
    Raises WorkerError at the first job that fails.
    """
    waiting = iter(jobs)  # asked only when a worker is free
    answers: queue.Queue[tuple[_Worker, str]] = queue.Queue()
    with ExitStack() as ended:
        running = [_Worker(function, answers) for _ in range(workers)]
        for worker in running:
            ended.callback(worker.end)
        busy = sum(worker.give(next(waiting, None)) for worker in running)
        while busy:
            worker, line = answers.get()
            if worker.job is None:
                continue  # it had nothing left to do and has ended
            answer: Message = json.loads(line) if line else {"error": worker.last_words()}
            if "error" in answer:
                raise WorkerError(answer["error"])
            if "message" in answer:
                yield worker.job, answer["message"]
            else:
                busy += worker.give(next(waiting, None)) - 1


class _Worker:
    """One process; its answers arrive in `answers` line by line, "" when it has ended."""

    def __init__(self, function: str, answers: "queue.Queue[tuple[_Worker, str]]") -> None:
        self.job: Job | None = None
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-m", "robomem.cli.workers", function]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        self._errors: list[str] = []
        self._listeners = [
            threading.Thread(target=self._listen, args=(answers,), daemon=True),
            threading.Thread(target=self._keep_errors, daemon=True),
        ]
        for listener in self._listeners:
            listener.start()

    def give(self, job: Job | None) -> bool:
        """Start on `job`; None lets the process end. True when there was a job."""
        self.job = job
        stdin = self._process.stdin
        assert stdin is not None
        try:
            if job is None:
                stdin.close()
            else:
                stdin.write(json.dumps(job) + "\n")
                stdin.flush()
        except BrokenPipeError:
            pass  # it has died: its "" is on the way
        return job is not None

    def last_words(self) -> str:
        """Why the process ended."""
        status = self._process.wait()
        self._listeners[1].join(5)
        said = self._errors[-1] if self._errors else "it said nothing"
        return f"a worker process ended with status {status}: {said}"

    def end(self) -> None:
        """End the process; what it has kept stays kept."""
        with suppress(BrokenPipeError), self._process:  # closes its pipes; what it did not live to read is in one
            self._process.terminate()
            for listener in self._listeners:
                listener.join()

    def _listen(self, answers: "queue.Queue[tuple[_Worker, str]]") -> None:
        for line in self._process.stdout or ():
            answers.put((self, line))
        answers.put((self, ""))

    def _keep_errors(self) -> None:
        for line in self._process.stderr or ():
            self._errors = [*self._errors[-20:], line.rstrip()]
            print(line, end="", file=sys.stderr)


def serve(function: Callable[..., Iterable[Message]]) -> None:
    """The worker's side: jobs from standard input, answers to standard output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print must not look like an answer

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values, allow_nan=False) + "\n")
        answers.flush()

    for line in sys.stdin:
        try:
            for message in function(**json.loads(line)):
                answer(message=message)
        except RobomemError as error:
            answer(error=str(error))
            return
        answer(done=True)


def main() -> None:
    """`python -m robomem.cli.workers module:function`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent ends its workers
    module, name = sys.argv[1].split(":")
    try:
        serve(getattr(import_module(module), name))
    except BrokenPipeError:
        raise SystemExit(130) from None  # the parent is gone


if __name__ == "__main__":
    main()
