"""A memory is a value: what is done to one never shows in another."""

from pathlib import Path

import numpy as np
import pytest
import torch

from robomem.errors import CheckpointError
from robomem.memory.bank import BankConfig, MemoryBank
from robomem.memory.state import MemoryState
from robomem.types import ActionChunk

CONFIG = BankConfig(slots=4, tokens=3, perceptual_dim=8, cognitive_dim=16, heads=2)


def filled(steps: int, seed: int = 0) -> MemoryState:
    random = torch.Generator().manual_seed(seed)
    state = MemoryBank(CONFIG).empty(seed=seed)
    bank = MemoryBank(CONFIG)
    for k in range(steps):
        with torch.no_grad():
            cognitive = torch.randn(1, 1, 16, generator=random)
            perceptual = torch.randn(1, 3, 8, generator=random)
            _, _, state = bank(state, cognitive, perceptual, torch.tensor([0.4 * k]))
        state.picture(np.full((2, 2, 3), k, np.uint8))
    return state


def equal(a: MemoryState, b: MemoryState) -> bool:
    return all(torch.equal(a.tensors()[name], b.tensors()[name]) for name in a.tensors()) and a.step == b.step


def test_a_fork_never_touches_its_parent() -> None:
    parent = filled(6)
    before = {name: tensor.clone() for name, tensor in parent.tensors().items()}
    child = parent.fork()
    child.become(filled(3, seed=1))
    child.reset()
    assert all(torch.equal(before[name], tensor) for name, tensor in parent.tensors().items())
    assert parent.step == 6 and len(parent.entries()) == 4
    assert child.step == 0 and child.entries() == []


def test_save_and_load_are_exact(tmp_path: Path) -> None:
    state = filled(7)
    state.save(tmp_path / "memory.safetensors")
    again = MemoryState.load(tmp_path / "memory.safetensors")
    assert equal(state, again) and again.seed == state.seed
    for mine, theirs in zip(state.entries(), again.entries(), strict=True):
        assert mine.start == theirs.start and mine.count == theirs.count
        assert mine.thumbnail is not None and theirs.thumbnail is not None
        assert np.array_equal(mine.thumbnail, theirs.thumbnail)


def promise(t: float = 1 / 3) -> ActionChunk:
    poses = np.tile([0.1, 1 / 7, 0.3, 1.0, 0.0, 0.0, 0.0], (2, 1))
    return ActionChunk([t, t + 0.1], poses, "tool_pose", [0.0, 1.0], context_version=3)


def test_what_is_promised_is_saved_exactly_moved_in_time_and_forgotten(tmp_path: Path) -> None:
    state = filled(3)
    state.running, state.delay_s = promise(), 1 / 7
    state.save(tmp_path / "memory.safetensors")
    again = MemoryState.load(tmp_path / "memory.safetensors")
    assert again.running is not None and again.delay_s == state.delay_s
    for name in ("t", "values", "gripper"):
        assert np.array_equal(getattr(again.running, name), getattr(promise(), name))
    assert (again.running.space, again.running.context_version) == ("tool_pose", 3)
    later = again.shifted(10.0)
    assert later.running is not None and later.running.t.tolist() == (promise().t + 10).tolist()
    again.reset()
    assert again.running is None and state.running is not None


def test_an_empty_memory_saves_and_loads(tmp_path: Path) -> None:
    state = MemoryBank(CONFIG).empty(seed=5)
    state.save(tmp_path / "memory.safetensors")
    assert equal(state, MemoryState.load(tmp_path / "memory.safetensors"))


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "memory.safetensors"
    if damage != "missing":
        filled(5).save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"not a memory")
    with pytest.raises(CheckpointError, match=str(path)):
        MemoryState.load(path)


def test_shifting_moves_what_is_held_in_time_and_nothing_else() -> None:
    state = filled(3)
    later = state.shifted(10.0)
    for before, after in zip(state.entries(), later.entries(), strict=True):
        assert after.start == pytest.approx(before.start + 10) and after.end == pytest.approx(before.end + 10)
    assert torch.equal(later.banks[0].start[:, 3:], torch.zeros(1, 1))
    assert torch.equal(later.banks[0].tokens, state.banks[0].tokens)


def test_entries_show_what_the_camera_saw_when_they_began() -> None:
    entries = filled(9).entries()
    assert [int(entry.thumbnail[0, 0, 0]) for entry in entries if entry.thumbnail is not None] == [
        round(entry.start / 0.4) for entry in entries
    ]
