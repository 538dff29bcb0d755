"""A store that a bad disk or a stranger changed gives one clear line, never wrong data."""

import json
import random
import shutil

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from robomem.data.episode import Episode
from robomem.data.episode_file import EpisodeFile, content_size
from robomem.data.ledger import read_ledger
from robomem.data.store import EpisodeStore
from robomem.errors import StoreError
from tests.robomem.data.content import assert_same, make_episode


def small(seed: int) -> Episode:
    """An episode in few bytes, so that a test can damage many of them."""
    episode = make_episode(seed, length=12, size=4)
    names = ("images/front", "t", "sent", "refused", "starved")
    return Episode({name: episode.arrays[name] for name in names}, episode.info)


@pytest.fixture
def path(tmp_path):
    with EpisodeStore.create(tmp_path / "store", {"robot": "panda"}) as store:
        for seed in range(3):
            store.append(small(seed))
    return tmp_path / "store"


def read_all(path) -> EpisodeStore:
    """Open the store, compare every episode, and look at the notes."""
    store = EpisodeStore.open(path)
    assert len(store) == 3 and store.meta == {"robot": "panda"}
    for number in range(3):
        assert_same(store.read(number), small(number))
        assert store.info(number) == small(number).info
    return store


def one_line_that_helps(error: StoreError, path) -> bool:
    """True when the message is one line that names the file and what to do."""
    message = str(error)
    helps = (
        "EpisodeStore.repair(",
        "restore it",
        "is not an episode store",
        "is not the root",
        "expected",
        "collect it",
    )
    return "\n" not in message and str(path) in message and any(phrase in message for phrase in helps)


@pytest.mark.parametrize("name", ["episodes/000001.zip", "ledger.jsonl", "zarr.json"])
def test_no_flipped_bit_gives_wrong_data(path, name):
    whole = (path / name).read_bytes()
    places = random.Random(2).sample(range(len(whole)), min(len(whole), 400))
    found = 0
    for place in {*places, 0, len(whole) - 1}:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        (path / name).write_bytes(damaged)
        try:
            read_all(path)
        except StoreError as error:
            found += 1
            assert one_line_that_helps(error, path), error
        except AssertionError:
            assert name == "ledger.jsonl" and "unfinished last line" in EpisodeStore.open(path).cut[0]
    assert found > len(places) * (0.9 if name == "ledger.jsonl" else 0.5)


@pytest.mark.parametrize("name", ["episodes/000001.zip", "ledger.jsonl", "zarr.json"])
def test_no_truncation_gives_wrong_data(path, name):
    whole = (path / name).read_bytes()
    for size in {*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1}:
        (path / name).write_bytes(whole[:size])
        try:
            store = EpisodeStore.open(path)
            for number in range(len(store)):
                assert_same(store.read(number), small(number))
            assert name == "ledger.jsonl" and len(store) < 3 and store.cut
        except StoreError as error:
            assert one_line_that_helps(error, path), error


def test_a_writer_brings_back_what_a_truncated_ledger_forgot(path):
    whole = (path / "ledger.jsonl").read_bytes()
    for size in (0, len(whole) // 2, len(whole) - 1):
        (path / "ledger.jsonl").write_bytes(whole[:size])
        with EpisodeStore.open(path, write=True) as store:
            assert len(store) == 3 and store.cut
        read_all(path)
        assert (path / "ledger.jsonl").read_bytes() == whole


@pytest.mark.parametrize("line", [0, 1, 2])
def test_repair_rebuilds_a_damaged_ledger(path, line):
    lines = (path / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"length":12', b'"length":11')
    (path / "ledger.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(StoreError, match=rf"line {line + 1} is damaged; EpisodeStore.repair"):
        EpisodeStore.open(path)
    assert len(EpisodeStore.repair(path)) == 1
    assert read_all(path).cut == ()
    assert EpisodeStore.repair(path) == ()


@pytest.mark.parametrize("gone", [True, False])
def test_repair_goes_on_without_a_lost_episode(path, gone):
    file = path / "episodes/000001.zip"
    if gone:
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    with pytest.raises(StoreError, match=r"000001.zip is (missing|damaged)"):
        EpisodeStore.open(path).read(1)
    (said,) = EpisodeStore.repair(path)
    assert "000001.zip" in said and ("lost" in said) == gone and ("set aside" in said) != gone
    with EpisodeStore.open(path, write=True) as store:
        assert len(store) == 2
        assert_same(store.read(1), small(2))
        assert store.append(small(3)) == 2
        assert store.file(2).path.name == "000003.zip"


@pytest.mark.parametrize("there", [(), ("zarr.json",), ("notes.txt",)])
def test_repair_of_a_folder_without_episodes_writes_nothing(tmp_path, there):
    for name in there:
        (tmp_path / name).write_text("{}")
    with pytest.raises(StoreError, match="is not an episode store: it has no folder 'episodes'"):
        EpisodeStore.repair(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(there)


def test_repair_of_a_store_without_its_root_keeps_the_episodes(path):
    (path / "zarr.json").unlink()
    with pytest.raises(StoreError, match="it has no zarr"):
        EpisodeStore.open(path)
    EpisodeStore.repair(path)
    assert len(EpisodeStore.open(path)) == 3


def test_an_episode_file_in_the_place_of_another_is_noticed(path):
    shutil.copy(path / "episodes/000000.zip", path / "episodes/000001.zip")
    with pytest.raises(StoreError, match=r"000001\.zip is damaged: it is not the file that was acknowledged"):
        EpisodeStore.open(path).read(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 0}, "has schema 0, this version reads schema 1: collect it again"),
        ({"schema": 2}, "has schema 2"),
        ({"format": "other"}, "holds 'other', expected 'robomem-episodes'"),
    ],
)
def test_a_store_of_another_version_says_so(path, change, message):
    root = json.loads((path / "zarr.json").read_bytes())
    root["attributes"].update(change)
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match=message):
        EpisodeStore.open(path)


def test_a_stranger_s_zarr_is_not_a_store(tmp_path):
    zarr.create_group(tmp_path / "alien").create_array("x", data=np.arange(3))
    for path in (tmp_path / "alien", tmp_path / "nowhere"):
        with pytest.raises(StoreError, match="is not"):
            EpisodeStore.open(path)
    with pytest.raises(StoreError, match="is not empty"):
        EpisodeStore.create(tmp_path / "alien")


def test_a_stranger_s_array_in_an_episode_is_refused_by_name(tmp_path):
    file = tmp_path / "alien.zip"
    with ZipStore(file, mode="w") as store:
        group = zarr.create_group(store, attributes={"info": {}})
        group.create_array("x", data=np.arange(12), chunks=(5,))
    with pytest.raises(StoreError, match="'x' is stored in a form that is not written here"):
        EpisodeFile(file)
    file.write_bytes(b"PK")
    with pytest.raises(StoreError, match=r"alien\.zip is damaged"):
        EpisodeFile(file)


def test_sizes_are_checked_before_memory_is_taken(path, monkeypatch):
    monkeypatch.setattr("robomem.data.episode_file.MAX_READ", 100)
    with pytest.raises(ValueError, match="take more than 100 bytes"):
        EpisodeStore.open(path).read(0, ["sent"])
    monkeypatch.setattr("robomem.data.episode_file.MAX_CHUNK", 100)
    with pytest.raises(StoreError, match="chunks of more than 100 bytes"):
        EpisodeStore.open(path).read(0)
    monkeypatch.setattr("robomem.data.ledger.MAX_BYTES", 100)
    with pytest.raises(StoreError, match="more than any ledger"):
        EpisodeStore.open(path)


@pytest.mark.parametrize("size", [1, 100, 255, 256, 300, 65791, 65792, 70000, 1 << 20])
def test_a_frame_says_how_much_it_unpacks_to(size):
    from numcodecs.zstd import compress

    assert content_size(compress(bytes(size), 3)) == size
    assert content_size(compress(bytes(size), 3)[:4]) is None
    assert content_size(b"nonsense") is None


def test_a_read_outside_the_store_names_what_is_there(path):
    store = EpisodeStore.open(path)
    with pytest.raises(StoreError, match="no field 'elbw'; fields: images/front, refused, sent, starved, t"):
        store.read(0, ["elbw"])
    with pytest.raises(StoreError, match="no episode 3; it holds 3"):
        store.read(3)
    for start, stop in ((-1, 3), (3, 3), (0, 13)):
        with pytest.raises(ValueError, match="not within the episode's 12 ticks"):
            store.read(0, ["t"], start, stop)


def test_the_ledger_trusts_no_line_of_another_form(tmp_path):
    from google_crc32c import value as crc32c

    for text in (b"[]", b'{"file":"../x.zip","length":1,"size":1,"directory_crc":1,"info":{}}', b'{"length":-1}'):
        (tmp_path / "ledger.jsonl").write_bytes(b"%08x %s\n" % (crc32c(text), text))
        assert read_ledger(tmp_path / "ledger.jsonl").damaged == (1,)
