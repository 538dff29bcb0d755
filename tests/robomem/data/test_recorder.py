"""The recorder turns the frames of a run into one stored episode."""

import errno
from dataclasses import replace

import numpy as np
import pytest

from robomem.data.recorder import EpisodeRecorder
from robomem.data.store import EpisodeStore
from robomem.errors import StoreError
from robomem.interfaces import Sink
from robomem.types import Frame, JointCommand, Mode, Observation


def frame(tick: int, refused: str = "") -> Frame:
    image = np.full((8, 8, 3), tick // 2, np.uint8)
    obs = Observation(tick / 20, {"front": image, "wrist": 255 - image}, np.full(7, tick), np.zeros(7), 0.5)
    wanted = JointCommand(np.full(7, np.nan if refused else tick + 1.0), 1.0)
    sent = JointCommand(np.full(7, tick + 0.5), 0.25)
    return Frame(obs, Mode.POLICY, wanted, sent, tick // 3, tick == 4, 0.001 * tick, refused, "policy")


@pytest.fixture
def store(tmp_path):
    with EpisodeStore.create(tmp_path / "store") as store:
        yield store


def test_frames_become_columns(store):
    ticks = iter(range(100))
    recorder: Sink = EpisodeRecorder(store, annotate=lambda: {"entities": np.full((2, 3), next(ticks))})
    for tick in range(7):
        recorder.append(frame(tick, "not finite" if tick == 5 else ""))
    assert recorder.finish({"task": "push_buttons", "seed": 3}) == 0
    read = store.read(0)
    assert read["t"].tolist() == [tick / 20 for tick in range(7)]
    assert read["images/wrist"][:, 0, 0, 0].tolist() == [255, 255, 254, 254, 253, 253, 252]
    assert np.isnan(read["wanted"][5, :7]).all() and read["wanted"][5, 7] == 1.0
    assert read["sent"][3].tolist() == [3.5] * 7 + [0.25]
    assert read["mode"].tolist() == ["policy"] * 7 and read["source"].tolist() == ["policy"] * 7
    assert read["refused"].tolist() == ["", "", "", "", "", "not finite", ""]
    assert read["starved"].tolist() == [tick == 4 for tick in range(7)]
    assert read["context_version"].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert read["truth/entities"][:, 1, 2].tolist() == list(range(7))
    assert store.info(0) == {"task": "push_buttons", "seed": 3}


def test_the_next_episode_starts_empty(store):
    recorder = EpisodeRecorder(store)
    for length in (3, 5):
        for tick in range(length):
            recorder.append(frame(tick))
        recorder.finish({})
    assert store.lengths.tolist() == [3, 5] and recorder.finish({}) is None


def test_an_aborted_episode_keeps_what_was_recorded(store):
    recorder = EpisodeRecorder(store)
    for tick in range(4):
        recorder.append(frame(tick))
    assert recorder.abort({"task": "push_buttons"}, "stopped by the operator") == 0
    assert store.lengths.tolist() == [4]
    assert store.info(0) == {"task": "push_buttons", "aborted": "stopped by the operator"}


def test_an_episode_that_outgrows_memory_is_cut_and_says_so(store, caplog):
    recorder = EpisodeRecorder(store, max_bytes=5 * 2 * 8 * 8 * 3)
    for tick in range(9):
        recorder.append(frame(tick))
    recorder.finish({"seed": 1})
    assert store.lengths.tolist() == [5] and store.info(0) == {"seed": 1, "cut_at_tick": 5}
    assert [record.getMessage() for record in caplog.records] == ["the episode is cut at tick 5: 1920 bytes are full"]
    recorder.append(frame(0))
    recorder.finish({})
    assert store.info(1) == {}


def test_images_that_are_handed_out_again_count_once(store):
    recorder = EpisodeRecorder(store, max_bytes=2 * 2 * 8 * 8 * 3)
    for tick in range(5):
        if tick % 2 == 0:
            seen = frame(tick).obs.images
        now = frame(tick)
        recorder.append(replace(now, obs=replace(now.obs, images=seen)))
    recorder.finish({})
    assert store.lengths.tolist() == [4] and store.info(0) == {"cut_at_tick": 4}


def test_a_refused_save_keeps_the_frames_for_another_try(store, monkeypatch):
    recorder = EpisodeRecorder(store)
    for tick in range(4):
        recorder.append(frame(tick))
    with monkeypatch.context() as patch:
        patch.setattr("robomem.data.store.write_file", disk_full)
        with pytest.raises(StoreError, match="No space left"):
            recorder.finish({})
    assert recorder.finish({}) == 0 and store.lengths.tolist() == [4]


def disk_full(path, data):
    raise OSError(errno.ENOSPC, "No space left on device")
