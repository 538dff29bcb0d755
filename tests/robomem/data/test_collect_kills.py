"""The slow proof: `robomem collect` itself, killed 50 times, loses no acknowledged episode and goes on each time."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from robomem.data.durable import PARTIAL
from robomem.data.layout import EPISODES, LEDGER, is_vacant, lock_for_writing
from robomem.data.store import EpisodeStore
from robomem.errors import StoreError
from tests.robomem.cli.call import start

KILLS = int(os.environ.get("ROBOMEM_KILLS", "50"))
LONGEST_EPISODE = 6.0  # s, so that a kill falls anywhere between two acknowledgements


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_acknowledged_episode_is_lost_by_50_kills_of_robomem_collect(tmp_path: Path) -> None:
    path, moments = tmp_path / "push_buttons", random.Random(7)
    files: dict[str, bytes] = {}
    for _ in range(KILLS):
        with start("collect", "task=push_buttons", "episodes=9999", f"out={tmp_path}") as process:
            wait_for_one_more(process, path / LEDGER)
            time.sleep(moments.uniform(0.0, LONGEST_EPISODE))
            acknowledged = lines(path / LEDGER)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        wait_until_gone(path)
        with EpisodeStore.open(path, write=True) as store:
            assert acknowledged <= len(store)
            store.verify()
        now = {file.name: file.read_bytes() for file in (path / EPISODES).iterdir()}
        assert files.items() <= now.items() and not any(name.endswith(PARTIAL) for name in now)
        files = now
    store = EpisodeStore.open(path)
    assert [store.info(k)["seed"] for k in range(len(store))] == list(range(len(store))) and len(store) >= KILLS
    assert not is_vacant(path)


def lines(ledger: Path) -> int:
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


def wait_for_one_more(process: "subprocess.Popen[str]", ledger: Path) -> None:
    """Return when the ledger has a line more than now."""
    before = lines(ledger)
    while lines(ledger) == before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def wait_until_gone(path: Path) -> None:
    """Return when the killed writer has let go of the store: on a busy machine it waits for its turn to die."""
    due = time.monotonic() + 60.0
    while True:
        try:
            return os.close(lock_for_writing(path))
        except StoreError:
            assert time.monotonic() < due
