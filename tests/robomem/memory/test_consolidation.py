"""Merging keeps order, time and count, and averages by count; gradients reach what was merged."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robomem.memory.consolidation import likeness, write
from robomem.memory.state import MemoryState

SLOTS, TOKENS, PERCEPTUAL, COGNITIVE = 5, 2, 4, 6


def empty(sessions: int = 1) -> MemoryState:
    return MemoryState.empty(sessions, SLOTS, TOKENS, PERCEPTUAL, COGNITIVE)


def write_many(count: int, seed: int, sessions: int = 1) -> tuple[MemoryState, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    state, sums = empty(sessions), torch.zeros(sessions, 1, COGNITIVE)
    for k in range(count):
        cognitive = torch.randn(sessions, 1, COGNITIVE, generator=random)
        perceptual = torch.randn(sessions, TOKENS, PERCEPTUAL, generator=random)
        state = write(state, cognitive, perceptual, torch.full((sessions,), float(k)))
        sums += cognitive
    return state, sums


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 40), seed=st.integers(0, 10_000))
def test_time_is_covered_entries_are_ordered_and_counts_sum_to_steps(count: int, seed: int) -> None:
    state, sums = write_many(count, seed, sessions=2)
    for session in range(2):
        entries = state.entries(session)
        assert len(entries) == min(count, SLOTS)
        assert sum(entry.count for entry in entries) == count
        covered = [t for entry in entries for t in range(int(entry.start), int(entry.end) + 1)]
        assert covered == list(range(count))
        assert all(entry.count == entry.end - entry.start + 1 for entry in entries)
    weighted = (state.cognitive * state.count[:, :, None, None]).sum(dim=1)
    assert torch.allclose(weighted, sums, atol=1e-4)  # an average by count loses no mass


def test_the_most_alike_neighbours_merge() -> None:
    state = empty()
    direction = torch.eye(COGNITIVE)
    which = [0, 1, 2, 2, 3]
    for k, axis in enumerate(which):
        cognitive = direction[axis].view(1, 1, -1)
        perceptual = direction[axis, :PERCEPTUAL].expand(1, TOKENS, -1) + 1e-3
        state = write(state, cognitive, perceptual, torch.tensor([float(k)]))
    state = write(state, direction[4].view(1, 1, -1), torch.ones(1, TOKENS, PERCEPTUAL), torch.tensor([5.0]))
    assert [(entry.start, entry.end, entry.count) for entry in state.entries()] == [
        (0, 0, 1),
        (1, 1, 1),
        (2, 3, 2),
        (4, 4, 1),
        (5, 5, 1),
    ]
    assert torch.equal(state.cognitive[0, 2, 0], direction[2])


def test_likeness_is_the_mean_of_both_streams() -> None:
    cognitive = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]]).unsqueeze(0)
    perceptual = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, -1.0]]]).unsqueeze(0)
    assert likeness(cognitive, perceptual)[0].tolist() == pytest.approx([0.5, -0.5])


def test_gradients_reach_an_entry_through_every_merge() -> None:
    random = torch.Generator().manual_seed(1)
    first = torch.randn(1, 1, COGNITIVE, generator=random, requires_grad=True)
    state = write(empty(), first, torch.randn(1, TOKENS, PERCEPTUAL, generator=random), torch.zeros(1))
    for k in range(1, 20):
        tokens = torch.randn(1, TOKENS, PERCEPTUAL, generator=random)
        state = write(state, torch.randn(1, 1, COGNITIVE, generator=random), tokens, torch.tensor([float(k)]))
    (state.cognitive[:, 0] * state.count[:, 0]).sum().backward()
    assert first.grad is not None and torch.allclose(first.grad, torch.ones_like(first), atol=1e-5)


def test_sessions_do_not_mix() -> None:
    together, _ = write_many(17, seed=3, sessions=2)
    random = torch.Generator().manual_seed(3)
    alone = empty()
    for k in range(17):
        cognitive = torch.randn(2, 1, COGNITIVE, generator=random)[1:]
        perceptual = torch.randn(2, TOKENS, PERCEPTUAL, generator=random)[1:]
        alone = write(alone, cognitive, perceptual, torch.tensor([float(k)]))
    assert torch.equal(together.cognitive[1], alone.cognitive[0])
    assert torch.equal(together.count[1], alone.count[0])
