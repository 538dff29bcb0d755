"""`robomem collect`, for real."""

import os
import signal
import time
from pathlib import Path

import pytest

from robomem.data.store import EpisodeStore
from tests.robomem.cli.call import robomem, start, summary_of


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos")
    answer = robomem("collect", "glances=0", "task=push_buttons", "episodes=1", "first_seed=7", f"out={folder}")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == str(folder)
    return folder


def test_an_episode_holds_what_was_seen_sent_and_true(collected: Path) -> None:
    store = EpisodeStore.open(collected / "push_buttons")
    episode, info = store.read(0), store.info(0)
    ticks = len(episode["t"])
    shapes = {name: array.shape[1:] for name, array in episode.items()}
    assert shapes["images/front"] == shapes["images/wrist"] == (64, 64, 3)
    assert shapes["wanted"] == shapes["sent"] == (8,)
    assert shapes["truth/entities"] == (8, 3)
    assert shapes["truth/visible"] == (8,)
    assert shapes["truth/goal"] == (3,)
    assert shapes["truth/goal_kind"] == ()
    assert set(episode["source"]) == {"oracle"}
    assert (info["task"], info["seed"], info["success"], info["ticks"]) == ("push_buttons", 7, True, ticks)
    assert "button" in info["instruction"]
    assert len(info["actions_sha256"]) == 64
    assert {name: camera["on"] for name, camera in store.meta["cameras"].items()} == {"front": "base", "wrist": "tool"}


def test_collecting_again_keeps_what_is_there_and_adds_the_rest(collected: Path) -> None:
    before = (collected / "push_buttons" / "ledger.jsonl").read_bytes()
    answer = robomem("collect", "glances=0", "task=push_buttons", "episodes=2", "first_seed=7", f"out={collected}")
    assert answer.returncode == 0, answer.stderr
    assert (collected / "push_buttons" / "ledger.jsonl").read_bytes().startswith(before)
    assert summary_of(collected)["tasks"]["push_buttons"]["new"] == 1
    assert [EpisodeStore.open(collected / "push_buttons").info(k)["seed"] for k in range(2)] == [7, 8]


def test_other_settings_are_refused_and_nothing_is_lost(collected: Path) -> None:
    episodes = len(EpisodeStore.open(collected / "push_buttons"))
    answer = robomem(
        "collect", "glances=0", "task=push_buttons", "episodes=9", "robot.image_size=32", f"out={collected}"
    )
    assert answer.returncode == 1
    assert "collected with robot.image_size 64, not 32; choose another out=DIR" in answer.stderr.splitlines()[-1]
    assert len(EpisodeStore.open(collected / "push_buttons")) == episodes


def test_an_interruption_keeps_every_acknowledged_episode(tmp_path: Path) -> None:
    ledger = tmp_path / "push_buttons" / "ledger.jsonl"
    with start("collect", "glances=0", "task=push_buttons", "episodes=500", f"out={tmp_path}") as process:
        while not (ledger.exists() and ledger.read_bytes().count(b"\n") >= 2):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines() == ["robomem collect: interrupted; what was done is kept"]
    store = EpisodeStore.open(tmp_path / "push_buttons", write=True)
    store.close()
    store.verify()
    assert all("kept" in sentence or "not finished" in sentence for sentence in store.cut)
    assert [store.info(k)["seed"] for k in range(len(store))] == list(range(len(store)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task=push_button"], "no task 'push_button'; known: all, clear_table, guess_where, push_buttons"),
        (["robot=pandas"], "no robot 'pandas'; known: panda"),
        (["episodes=-1"], "episodes is -1, expected 0 or more"),
        (["robot.camera_hz=7"], "expected a whole number"),
        (["robot.cameras=[frnt]"], "no camera 'frnt'; known: "),
        (["robot.camera=front"], "camera"),
        (["policy=memoryvla"], "demonstrates nothing; choose policy=demonstrator"),
    ],
)
def test_bad_input_gets_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    answer = robomem("collect", f"out={tmp_path}", *words)
    assert answer.returncode in (1, 2)
    assert said in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
