"""The episode store: what goes in comes out, now and in any later process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from robomem.data.episode import Episode
from robomem.data.store import EpisodeStore
from robomem.errors import StoreError
from tests.robomem.data.collector import Collector
from tests.robomem.data.content import assert_same, make_episode


def test_an_episode_comes_back_equal_from_another_store_object(tmp_path):
    episodes = [make_episode(seed, length=30 + seed) for seed in range(3)]
    with EpisodeStore.create(tmp_path / "store", {"robot": "panda"}) as store:
        assert [store.append(episode) for episode in episodes] == [0, 1, 2]
    store = EpisodeStore.open(tmp_path / "store")
    assert len(store) == 3 and store.lengths.tolist() == [30, 31, 32] and store.meta == {"robot": "panda"}
    for number, episode in enumerate(episodes):
        assert_same(store.read(number), episode)
        assert store.info(number) == episode.info
    assert store.cut == ()


def test_an_empty_store_copied_without_its_empty_folder_is_written_to(tmp_path):
    EpisodeStore.create(tmp_path / "store").close()
    (tmp_path / "store/episodes").rmdir()
    assert len(EpisodeStore.open(tmp_path / "store")) == 0
    with EpisodeStore.open(tmp_path / "store", write=True) as store:
        assert store.append(make_episode(0)) == 0
    assert_same(EpisodeStore.open(tmp_path / "store").read(0), make_episode(0))


def test_equal_stores_have_one_identity_and_any_change_gives_another(tmp_path):
    first = make_episode(0)
    images = first.arrays["images/front"].copy()
    images[7, 3, 2, 1] ^= 1
    contents = {
        "first": ({}, [first]),
        "equal": ({}, [make_episode(0)]),
        "notes": ({"focal": 1.2}, [first]),
        "info": ({}, [Episode(first.arrays, {**first.info, "seed": 1})]),
        "pixel": ({}, [Episode({**first.arrays, "images/front": images}, first.info)]),
        "grown": ({}, [first, make_episode(1)]),
        "order": ({}, [make_episode(1), first]),
    }
    identities = {}
    for name, (meta, episodes) in contents.items():
        with EpisodeStore.create(tmp_path / name, meta) as store:
            for episode in episodes:
                store.append(episode)
            identities[name] = store.identity()
        assert EpisodeStore.open(tmp_path / name).identity() == identities[name]
    assert identities.pop("equal") == identities["first"] and len(set(identities.values())) == len(identities)


def test_any_zarr_reader_reads_an_episode(tmp_path):
    episode = make_episode(0, length=57)
    with EpisodeStore.create(tmp_path / "store") as store:
        store.append(episode)
    assert zarr.open_group(tmp_path / "store", mode="r").attrs["format"] == "robomem-episodes"
    with ZipStore(tmp_path / "store/episodes/000000.zip", mode="r") as files:
        group = zarr.open_group(files, mode="r")
        assert dict(group.attrs["info"]) == episode.info
        arrays = {name: node for name, node in group.members(max_depth=None) if isinstance(node, zarr.Array)}
        assert arrays.keys() == episode.arrays.keys()
        for name, array in arrays.items():
            values = np.array(array.attrs["texts"])[array[:]] if "texts" in array.attrs else array[:]
            np.testing.assert_array_equal(values, episode.arrays[name])


def test_a_second_writer_is_refused_and_readers_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr("robomem.data.layout.LOCK_PATIENCE", 0.1)
    with EpisodeStore.create(tmp_path / "store") as store:
        with pytest.raises(StoreError, match=r"already being written by process \d+"):
            EpisodeStore.open(tmp_path / "store", write=True)
        reader = EpisodeStore.open(tmp_path / "store")
        store.append(make_episode(0))
        assert len(reader) == 0 and reader.refresh() == 1
        assert_same(reader.read(0), make_episode(0))
    EpisodeStore.open(tmp_path / "store", write=True).close()


def test_a_writer_waits_for_one_that_is_about_to_be_gone(tmp_path):
    store = EpisodeStore.create(tmp_path / "store")
    leaving = threading.Timer(0.2, store.close)
    leaving.start()
    EpisodeStore.open(tmp_path / "store", write=True).close()
    leaving.join()


def test_readers_see_whole_episodes_only_while_a_writer_appends(tmp_path):
    path, seen = tmp_path / "store", 0
    EpisodeStore.create(path).close()
    reader = EpisodeStore.open(path)
    with Collector(path) as collector, ThreadPoolExecutor() as pool:
        writing = pool.submit(collector.kill_after, episodes=12, seconds=0.0)
        while not writing.done():
            for number in range(seen, reader.refresh()):
                assert_same(reader.read(number), make_episode(number, size=8))
                seen = number + 1
        assert reader.refresh() >= len(writing.result()) >= 12
    assert seen > 0


def test_an_episode_with_other_fields_is_refused_by_name(tmp_path):
    with EpisodeStore.create(tmp_path / "store") as store:
        store.append(make_episode(0))
        other = make_episode(1)
        without = {name: array for name, array in other.arrays.items() if name != "joint_pos"}
        with pytest.raises(StoreError, match=r"'joint_pos' is missing, expected float64 \(7,\)"):
            store.append(Episode(without, {}))
        store.append(Episode({**other.arrays, "truth/extra": np.zeros((len(other), 2))}, {}))


@pytest.mark.parametrize(
    ("field", "value", "info", "message"),
    [
        ("t", np.zeros(40), {"said": "x" * 5000}, r"info takes 5\d\d\d bytes of metadata, expected at most 4096"),
        ("refused", np.array(["x" * 5000] * 40), {}, r"field 'refused' takes 5\d\d\d bytes of metadata"),
        ("images/front", np.zeros((40, 64, 64, 3), np.uint8), {}, "field 'images/front' takes 196608 bytes a chunk"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch, field, value, info, message):
    monkeypatch.setattr("robomem.data.episode_file.MAX_METADATA", 4096)
    monkeypatch.setattr("robomem.data.episode_file.MAX_CHUNK", 40_000)
    episode = make_episode(0)
    with EpisodeStore.create(tmp_path / "store") as store:
        with pytest.raises(ValueError, match=message):
            store.append(Episode({**episode.arrays, field: value}, info))
        assert len(store) == 0 and not list((tmp_path / "store/episodes").iterdir())
        store.append(episode)
    assert_same(EpisodeStore.open(tmp_path / "store").read(0), episode)


@pytest.mark.parametrize(
    ("arrays", "info", "message"),
    [
        ({}, {}, "common length"),
        ({"a": np.zeros(3), "b": np.zeros(4)}, {}, "common length"),
        ({"a": np.zeros(0)}, {}, "common length"),
        ({"a": np.array([None, {}])}, {}, "object, expected text"),
        ({"../a": np.zeros(3)}, {}, "letters, digits"),
        ({"a": np.zeros(3), "a/b": np.zeros(3)}, {}, "folder of another"),
        ({"a": np.zeros(3)}, {"x": float("nan")}, "plain JSON"),
        ({"a": np.zeros(3)}, {"x": np.float32(1)}, "plain JSON"),
    ],
)
def test_what_no_store_can_hold_is_not_an_episode(arrays, info, message):
    with pytest.raises(ValueError, match=message):
        Episode(arrays, info)
