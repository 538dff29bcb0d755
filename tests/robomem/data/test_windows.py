"""A window is what plain slicing of the episode gives, padded at its ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robomem.data.store import EpisodeStore
from robomem.data.windows import WindowReader
from robomem.errors import RobomemError, SpecMismatch, UnknownName
from tests.robomem.data.content import make_episode

LENGTHS = (1, 23, 40)
EPISODES = [make_episode(seed, length=length, size=8) for seed, length in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("windows") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robomem.data.episode_file.TARGET_CHUNK", 7 * 8 * 8 * 3)  # 7 ticks of an image
        with EpisodeStore.create(path) as writer:
            for episode in EPISODES:
                writer.append(episode)
    return EpisodeStore.open(path)


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.integers(0, sum(LENGTHS) - 1), min_size=1, max_size=5),
    frames=st.integers(1, 6),
    stride=st.integers(1, 9),
    horizon=st.integers(1, 45),
    cameras=st.sampled_from([None, ["wrist"], ["wrist", "front"], []]),
)
def test_a_window_is_a_padded_slice(store, numbers, frames, stride, horizon, cameras):
    reader = WindowReader(
        store, frames=frames, stride=stride, horizon=horizon, cameras=cameras, state=["joint_pos", "t"], action="sent"
    )
    windows = reader.read(numbers)
    assert sorted(windows.images) == sorted(["front", "wrist"] if cameras is None else cameras)
    where = [(episode, tick) for episode, length in enumerate(LENGTHS) for tick in range(length)]
    for row, number in enumerate(numbers):
        episode, tick = where[number]
        assert (windows.episode[row], windows.tick[row]) == (episode, tick)
        arrays, last = EPISODES[episode].arrays, LENGTHS[episode] - 1
        state = np.append(arrays["joint_pos"][tick], arrays["t"][tick]).astype(np.float32)
        np.testing.assert_array_equal(windows.state[row], state)
        for column in range(frames):
            seen = tick - (frames - 1 - column) * stride
            assert windows.image_is_pad[row, column] == (seen < 0)
            for camera, images in windows.images.items():
                np.testing.assert_array_equal(images[row, column], arrays[f"images/{camera}"][max(seen, 0)])
        for ahead in range(horizon):
            assert windows.action_is_pad[row, ahead] == (tick + ahead > last)
            action = arrays["sent"][min(tick + ahead, last)].astype(np.float32)
            np.testing.assert_array_equal(windows.action[row, ahead], action)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.data())
def test_a_read_of_any_ticks_is_a_slice(store, number, data):
    start = data.draw(st.integers(0, LENGTHS[number] - 1))
    stop = data.draw(st.integers(start + 1, LENGTHS[number]))
    for name, values in store.read(number, start=start, stop=stop).items():
        np.testing.assert_array_equal(values, EPISODES[number].arrays[name][start:stop])


def test_samples_reach_every_tick_and_repeat_for_a_seed(store):
    reader = WindowReader(store)
    sampled = reader.sample(2000, np.random.default_rng(3))
    assert len({*zip(sampled.episode.tolist(), sampled.tick.tolist(), strict=True)}) == len(reader) == sum(LENGTHS)
    again = reader.sample(2000, np.random.default_rng(3))
    np.testing.assert_array_equal(sampled.tick, again.tick)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"frames": 0}, ValueError, "frames is 0"),
        ({"horizon": -1}, ValueError, "horizon is -1"),
        ({"cameras": ["side"]}, UnknownName, "no camera 'side'; known: front, wrist"),
        ({"state": ["elbow"]}, RobomemError, "no field 'elbow'; fields: "),
        ({"state": ["refused"]}, SpecMismatch, "'refused' is <U"),
        ({"action": "images/front"}, SpecMismatch, "expected one row of numbers a tick"),
    ],
)
def test_what_cannot_be_windowed_is_named(store, options, error, message):
    with pytest.raises(error, match=message):
        WindowReader(store, **options)


@pytest.mark.parametrize("numbers", [[], [-1], [sum(LENGTHS)]])
def test_windows_outside_the_store_are_refused(store, numbers):
    with pytest.raises(ValueError, match="not within 0 to 63"):
        WindowReader(store).read(numbers)


def test_an_empty_store_has_no_windows(tmp_path):
    with (
        EpisodeStore.create(tmp_path / "store") as empty,
        pytest.raises(ValueError, match="episodes is 0, expected at least 1"),
    ):
        WindowReader(empty)
