"""Merging keeps order, time and count, and averages by count; gradients reach what was merged."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robomem.memory.consolidation import likeness, write
from robomem.memory.state import MemoryState
from robomem.memory.stream import Stream

SLOTS, TOKENS, PERCEPTUAL, COGNITIVE = 5, 2, 4, 6


def empty(sessions: int = 1) -> MemoryState:
    cognitive, perceptual = ((1, COGNITIVE), (TOKENS, PERCEPTUAL))
    return MemoryState(Stream.empty(sessions, SLOTS, *cognitive), Stream.empty(sessions, SLOTS, *perceptual))


def written(state: MemoryState, cognitive: torch.Tensor, perceptual: torch.Tensor, t: torch.Tensor) -> MemoryState:
    return MemoryState(*write((state.cognitive, state.perceptual), (cognitive, perceptual), t))


def write_many(count: int, seed: int, sessions: int = 1) -> tuple[MemoryState, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    state, sums = empty(sessions), torch.zeros(sessions, 1, COGNITIVE)
    for k in range(count):
        cognitive = torch.randn(sessions, 1, COGNITIVE, generator=random)
        perceptual = torch.randn(sessions, TOKENS, PERCEPTUAL, generator=random)
        state = written(state, cognitive, perceptual, torch.full((sessions,), float(k)))
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
    held = state.cognitive
    weighted = (held.tokens * held.count[:, :, None, None]).sum(dim=1)
    assert torch.allclose(weighted, sums, atol=1e-4)  # an average by count loses no mass


def test_the_most_alike_neighbours_merge() -> None:
    state = empty()
    direction = torch.eye(COGNITIVE)
    which = [0, 1, 2, 2, 3]
    for k, axis in enumerate(which):
        cognitive = direction[axis].view(1, 1, -1)
        perceptual = direction[axis, :PERCEPTUAL].expand(1, TOKENS, -1) + 1e-3
        state = written(state, cognitive, perceptual, torch.tensor([float(k)]))
    state = written(state, direction[4].view(1, 1, -1), torch.ones(1, TOKENS, PERCEPTUAL), torch.tensor([5.0]))
    assert [(entry.start, entry.end, entry.count) for entry in state.entries()] == [
        (0, 0, 1),
        (1, 1, 1),
        (2, 3, 2),
        (4, 4, 1),
        (5, 5, 1),
    ]
    assert torch.equal(state.cognitive.tokens[0, state.cognitive.order[0, 2], 0], direction[2])


def test_both_streams_merge_the_pair_that_is_most_alike_on_average() -> None:
    east, north = torch.tensor([[[1.0, 0, 0, 0, 0, 0]]]), torch.tensor([[[0.0, 1, 0, 0, 0, 0]]])
    state = empty()
    seen = [(east, east), (east, north), (north, -north), (-north, east), (north, -east), (-north, -east)]
    for k, (cognitive, perceptual) in enumerate(seen):  # likenesses (1, 0), (0, -1), (-1, 0), (-1, -1), (-1, 1)
        tokens = perceptual[..., :PERCEPTUAL].expand(-1, TOKENS, -1)
        state = written(state, cognitive, tokens, torch.tensor([float(k)]))
    assert [entry.count for entry in state.entries()] == [2, 1, 1, 1, 1]
    assert torch.equal(state.cognitive.order, state.perceptual.order)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 40), seed=st.integers(0, 10_000))
def test_likenesses_are_kept_as_if_computed_anew(count: int, seed: int) -> None:
    state, _ = write_many(count, seed, sessions=2)
    for stream in state.streams().values():
        by_age = stream.tokens.take_along_dim(stream.order[:, :, None, None], dim=1)
        for age in range(int(stream.length[0]) - 1):
            assert torch.allclose(stream.alike[:, age], likeness(by_age[:, age], by_age[:, age + 1]), atol=1e-6)


def test_sessions_of_unequal_length_are_written_together() -> None:
    ahead, _ = write_many(9, seed=1)
    behind, _ = write_many(3, seed=2)
    random = torch.Generator().manual_seed(5)
    both = MemoryState(
        *(
            Stream(
                **{
                    name: torch.cat([tensor, behind.streams()[kind].tensors()[name]])
                    for name, tensor in one.tensors().items()
                }
            )
            for kind, one in ahead.streams().items()
        )
    )
    for k in range(7):
        cognitive = torch.randn(2, 1, COGNITIVE, generator=random)
        perceptual = torch.randn(2, TOKENS, PERCEPTUAL, generator=random)
        t = torch.tensor([9.0 + k, 3.0 + k])
        both = written(both, cognitive, perceptual, t)
        ahead = written(ahead, cognitive[:1], perceptual[:1], t[:1])
        behind = written(behind, cognitive[1:], perceptual[1:], t[1:])
    for name, tensor in both.tensors().items():
        assert torch.equal(tensor, torch.cat([ahead.tensors()[name], behind.tensors()[name]])), name


def test_gradients_reach_an_entry_through_every_merge() -> None:
    random = torch.Generator().manual_seed(1)
    first = torch.randn(1, 1, COGNITIVE, generator=random, requires_grad=True)
    state = written(empty(), first, torch.randn(1, TOKENS, PERCEPTUAL, generator=random), torch.zeros(1))
    for k in range(1, 20):
        tokens = torch.randn(1, TOKENS, PERCEPTUAL, generator=random)
        state = written(state, torch.randn(1, 1, COGNITIVE, generator=random), tokens, torch.tensor([float(k)]))
    oldest = int(state.cognitive.order[0, 0])
    (state.cognitive.tokens[:, oldest] * state.cognitive.count[:, oldest]).sum().backward()
    assert first.grad is not None and torch.allclose(first.grad, torch.ones_like(first), atol=1e-5)


def test_sessions_do_not_mix() -> None:
    together, _ = write_many(17, seed=3, sessions=2)
    random = torch.Generator().manual_seed(3)
    alone = empty()
    for k in range(17):
        cognitive = torch.randn(2, 1, COGNITIVE, generator=random)[1:]
        perceptual = torch.randn(2, TOKENS, PERCEPTUAL, generator=random)[1:]
        alone = written(alone, cognitive, perceptual, torch.tensor([float(k)]))
    for name, tensor in together.tensors().items():
        assert torch.equal(tensor[1], alone.tensors()[name][0]), name
