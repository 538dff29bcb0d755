"""What was acknowledged survives kill -9, a cut of power and a full disk; what was not is cut, and said."""

import errno
import itertools
import os
import random
import subprocess

import pytest

from robomem.data.store import EpisodeStore
from robomem.errors import StoreError
from tests.robomem.data.collector import Collector
from tests.robomem.data.content import assert_same, make_episode
from tests.robomem.data.power_cut import Killed, PowerCut


def check(store: EpisodeStore, acknowledged: int, size: int = 16) -> None:
    """Every acknowledged episode is there and equal, and at most one more, which is whole."""
    assert acknowledged <= len(store) <= acknowledged + 1
    for number in range(len(store)):
        assert_same(store.read(number), make_episode(number, size=size))


def test_nothing_acknowledged_is_lost_by_50_kills_while_collecting(tmp_path):
    path = tmp_path / "store"
    acknowledged, moments = 0, random.Random(1)
    with Collector(path) as collector:
        for _ in range(50):
            said = collector.kill_after(moments.randint(0, 2), moments.uniform(0.0, 0.08))
            assert said == list(range(acknowledged, acknowledged + len(said)))
            acknowledged += len(said)
            if not (path / "zarr.json").exists():
                assert acknowledged == 0
                continue
            with EpisodeStore.open(path, write=True) as store:
                assert acknowledged <= len(store) <= acknowledged + 1
                assert not list(path.rglob("*.partial"))
                acknowledged = len(store)
    assert acknowledged > 25
    check(EpisodeStore.open(path), acknowledged, size=8)


def test_a_power_cut_at_any_call_loses_nothing_acknowledged(tmp_path):
    (tmp_path / "disk").mkdir()
    cut = PowerCut(tmp_path / "disk")
    with cut.watching():
        store = EpisodeStore.create(tmp_path / "disk" / "store")
        for number in range(3):
            store.append(make_episode(number))
            cut.progress = number + 1
    store.close()
    assert len(cut.states) > 100 and {state.done for state in cut.states} == {0, 1, 2, 3}
    said: list[str] = []
    for index, state in enumerate(cut.states):
        path = state.put(tmp_path / str(index)) / "store"
        if (path / "zarr.json").exists():
            with EpisodeStore.open(path, write=True) as store:
                check(store, state.done)
                said += store.cut
        else:
            assert state.done == 0, state.call
            with EpisodeStore.create(path) as store:
                check(store, 0)
    assert any("not finished" in sentence for sentence in said) and any(
        "torn last line" in sentence for sentence in said
    )


def test_a_power_cut_while_recovering_from_a_kill_loses_nothing_either(tmp_path):
    kept = 0
    for kill_at in itertools.count(1):
        disk = tmp_path / str(kill_at)
        store = EpisodeStore.create(disk / "store")
        store.append(make_episode(0))
        cut = PowerCut(disk, kill_at)
        try:
            with cut.watching():
                store.append(make_episode(1))
            break
        except Killed:
            store.close()
        cut.revive(progress=1)
        with cut.watching(), EpisodeStore.open(disk / "store", write=True) as store:
            cut.progress = len(store)
            kept += "kept" in " ".join(store.cut)
        for number, state in enumerate(cut.states):
            with EpisodeStore.open(state.put(disk / f"after-{number}") / "store", write=True) as store:
                check(store, state.done)
    assert kill_at > 8 and kept > 0


class FullDisk:
    """Writes take `room` bytes in all, then fail half way as a full disk does."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def write(self, fd: int, data: bytes) -> int:
        taken = self._write(fd, data[: self.room])
        self.room -= taken
        if taken == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return taken


def test_a_disk_that_fills_at_any_byte_refuses_the_episode_and_keeps_the_others(tmp_path, monkeypatch):
    with EpisodeStore.create(tmp_path / "store") as store:
        store.append(make_episode(0))
        size = sum(file.stat().st_size for file in (tmp_path / "store").rglob("*") if file.is_file())
        for room in [0, 1, size // 3, *range(store.file(0).size - 5, store.file(0).size + 300, 17)]:
            monkeypatch.setattr(os, "write", FullDisk(room).write)
            try:
                store.append(make_episode(1))
            except StoreError as error:
                assert "No space left on device" in str(error) and "1 episodes before it are safe" in str(error)
            else:
                break
            monkeypatch.undo()
            assert len(store) == 1 and not list((tmp_path / "store/episodes").glob("*1*"))
            with pytest.raises(StoreError, match="no episode 1"):
                EpisodeStore.open(tmp_path / "store").read(1)
        monkeypatch.undo()
        assert len(store) == 2
    check(EpisodeStore.open(tmp_path / "store"), 2)


def test_a_ledger_that_can_be_neither_written_nor_cut_ends_the_writing(tmp_path, monkeypatch):
    with EpisodeStore.create(tmp_path / "store") as store:
        store.append(make_episode(0))
        real = os.fsync

        def fails_on_the_ledger(fd: int) -> None:
            if os.readlink(f"/proc/self/fd/{fd}").endswith("ledger.jsonl"):  # noqa: PTH115
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(fd)

        monkeypatch.setattr(os, "fsync", fails_on_the_ledger)
        with pytest.raises(StoreError, match="Input/output error"):
            store.append(make_episode(1))
        monkeypatch.undo()
        with pytest.raises(StoreError, match="not open for writing"):
            store.append(make_episode(1))
    with EpisodeStore.open(tmp_path / "store", write=True) as store:
        check(store, 1)


def test_a_real_full_disk_keeps_every_episode_it_acknowledged(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if mount.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        with EpisodeStore.create(disk / "store") as store:
            with pytest.raises(StoreError, match="No space left on device"):
                while True:
                    store.append(make_episode(len(store)))
            saved = len(store)
            assert saved > 3
        with EpisodeStore.open(disk / "store", write=True) as store:
            check(store, saved)
    finally:
        subprocess.run(["umount", disk], check=True)
