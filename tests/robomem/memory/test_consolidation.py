"""Merging keeps order, time and count, and averages by count; gradients reach what was merged."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robomem.memory.consolidation import likeness, write
from robomem.memory.entries import Entries
from robomem.memory.state import MemoryEntry, MemoryState

SLOTS, TOKENS, PERCEPTUAL, COGNITIVE = 5, 2, 4, 6


def empty(sessions: int = 1) -> Entries:
    return Entries.empty(sessions, SLOTS, ((1, COGNITIVE), (TOKENS, PERCEPTUAL)))


def entries(held: Entries, session: int = 0) -> list[MemoryEntry]:
    return MemoryState((held,)).entries(session)


def moments(count: int, seed: int, sessions: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    random = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(sessions, 1, COGNITIVE, generator=random),
            torch.randn(sessions, TOKENS, PERCEPTUAL, generator=random),
        )
        for _ in range(count)
    ]


def flat(tokens: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.cat([stream.flatten(1) for stream in tokens], dim=1)


def newest(held: Entries) -> torch.Tensor:
    return held.tokens[:, held.order[0, -1]]


def joined(alone: list[Entries]) -> Entries:
    names = alone[0].tensors()
    return replace(alone[0], **{name: torch.cat([held.tensors()[name] for held in alone]) for name in names})


def written(held: Entries, seen: list[tuple[torch.Tensor, torch.Tensor]], first_t: float = 0.0) -> Entries:
    for k, tokens in enumerate(seen):
        held = write(held, tokens, torch.full((len(held.order),), first_t + k))
    return held


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 40), seed=st.integers(0, 10_000))
def test_time_is_covered_entries_are_ordered_and_counts_sum_to_steps(count: int, seed: int) -> None:
    seen = moments(count, seed, sessions=2)
    held = written(empty(2), seen)
    for session in range(2):
        kept = entries(held, session)
        assert len(kept) == min(count, SLOTS)
        assert sum(entry.count for entry in kept) == count
        covered = [t for entry in kept for t in range(int(entry.start), int(entry.end) + 1)]
        assert covered == list(range(count))
        assert all(entry.count == entry.end - entry.start + 1 for entry in kept)
    for stream, tokens in zip(held.streams(held.tokens), zip(*seen, strict=True), strict=False):
        weighted = (stream * held.count[:, :, None, None]).sum(dim=1)
        assert torch.allclose(weighted, torch.stack(tokens).sum(dim=0), atol=1e-4)  # an average by count loses no mass


def test_the_most_alike_neighbours_merge() -> None:
    axes = torch.eye(COGNITIVE)
    seen = [(axes[k].view(1, 1, -1), axes[k, :PERCEPTUAL].expand(1, TOKENS, -1) + 1e-3) for k in (0, 1, 2, 2, 3)]
    held = written(empty(), [*seen, (axes[4].view(1, 1, -1), torch.ones(1, TOKENS, PERCEPTUAL))])
    assert [(entry.start, entry.end, entry.count) for entry in entries(held)] == [
        (0, 0, 1),
        (1, 1, 1),
        (2, 3, 2),
        (4, 4, 1),
        (5, 5, 1),
    ]
    assert torch.allclose(held.tokens[0, held.order[0, 2], :COGNITIVE], axes[2])


def test_the_new_entry_may_be_the_one_that_is_merged() -> None:
    seen = moments(SLOTS, seed=4)
    held = written(empty(), [*seen, seen[-1]])
    assert [entry.count for entry in entries(held)] == [1, 1, 1, 1, 2]
    assert torch.allclose(newest(held), flat(seen[-1]))


def test_all_streams_merge_the_pair_that_is_most_alike_on_average() -> None:
    east, north = torch.eye(COGNITIVE)[:2].view(2, 1, 1, -1)
    seen = [(east, east), (east, north), (north, -north), (-north, east), (north, -east), (-north, -east)]
    held = written(empty(), [(c, p[..., :PERCEPTUAL].expand(-1, TOKENS, -1)) for c, p in seen])
    assert [entry.count for entry in entries(held)] == [2, 1, 1, 1, 1]  # likenesses 1/2, -1/2, -1/2, -1, 0


def test_an_even_merge_is_the_middle_whatever_was_merged_before() -> None:
    held, away = written(empty(), moments(SLOTS, seed=4)), 0.01 * flat(moments(1, seed=5)[0])
    for k in range(3):  # nearly the same again and again, merged into the newest
        was = newest(held)
        held = write(held, held.streams(was + away), torch.tensor([float(SLOTS + k)]), by_count=False)
        assert torch.allclose(newest(held), was + away / 2, atol=1e-6)
    assert [entry.count for entry in entries(held)] == [1, 1, 1, 1, 4]


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 40), seed=st.integers(0, 10_000))
def test_likenesses_are_kept_as_if_computed_anew(count: int, seed: int) -> None:
    held = written(empty(2), moments(count, seed, sessions=2))
    by_age = held.tokens.take_along_dim(held.order[:, :, None], dim=1)
    last = int(held.length[0]) - 1
    assert torch.allclose(held.alike[:, :last], likeness(held, by_age[:, :last], by_age[:, 1 : last + 1]), atol=1e-6)


def test_sessions_of_unequal_length_are_written_together_and_do_not_mix() -> None:
    alone = [written(empty(), moments(length, seed)) for seed, length in enumerate((9, 3, 0))]
    together = joined(alone)
    for k, tokens in enumerate(moments(7, seed=5, sessions=3)):
        t = torch.tensor([9.0, 3.0, 0.0]) + k
        together = write(together, tokens, t)
        for session, held in enumerate(alone):
            of_it = slice(session, session + 1)
            alone[session] = write(held, [stream[of_it] for stream in tokens], t[of_it])
    for name, tensor in joined(alone).tensors().items():
        assert torch.equal(tensor, together.tensors()[name]), name


def test_gradients_reach_an_entry_through_every_merge() -> None:
    first, *others = moments(20, seed=1)
    first[0].requires_grad_(True)
    held = written(empty(), [first, *others])
    oldest = int(held.order[0, 0])
    (held.tokens[:, oldest] * held.count[:, oldest]).sum().backward()
    assert first[0].grad is not None and torch.allclose(first[0].grad, torch.ones_like(first[0]), atol=1e-5)


@pytest.mark.parametrize("by_count", [True, False])
def test_gradients_of_a_write_are_what_differences_say(by_count: bool) -> None:
    alone = [written(empty(), moments(length, seed)) for seed, length in enumerate((9, SLOTS, 3, 0))]
    held = joined(alone).each(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    (again,) = moments(1, seed=7, sessions=4)
    again = tuple(stream.double() for stream in again)
    newest = held.order[1, -1]
    again[0][1], again[1][1] = (stream[1, newest] for stream in held.streams(held.tokens))  # it joins the newest

    def after(tokens: torch.Tensor, cognitive: torch.Tensor, perceptual: torch.Tensor) -> torch.Tensor:
        at = torch.tensor([9.0, 5.0, 3.0, 0.0], dtype=torch.float64)
        return write(replace(held, tokens=tokens), (cognitive, perceptual), at, by_count=by_count).tokens

    given = [tensor.clone().requires_grad_(True) for tensor in (held.tokens, *again)]
    assert torch.autograd.gradcheck(after, given)
