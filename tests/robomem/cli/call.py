"""The command line, called as a person calls it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


def robomem(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`robomem <words>`, finished."""
    with start(*words, cwd=cwd) as process:
        out, err = process.communicate(timeout=250)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def start(*words: str, cwd: Path = ROOT) -> "subprocess.Popen[str]":
    """`robomem <words>`, running, in a process group of its own; heeds an interruption even where the tests ignore it.

    What is started in the background of a shell inherits that it ignores Ctrl-C.
    """
    called = [sys.executable, "-m", "robomem.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            called, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


def summary_of(folder: Path) -> dict[str, Any]:
    """summary.json of a run's folder."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return summary
