"""Over capacity, the two neighbours in time that are most alike become one (MemoryVLA eq. 9).

A write touches two slots, however many there are: one takes the merged entry, the other, now free, the new one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from robomem.memory.entries import FACTS, Entries


def write(
    held: Entries, streams: Sequence[Tensor], t: Tensor, told: Tensor | None = None, by_count: bool = True
) -> Entries:
    """`held` with one more entry of the moment `t` (B,): `streams` (B, N, D), tokens and then what is derived; and what
    is `told` of its start (B, C).

    A full session first merges its most alike neighbours, the new entry among them: tokens are averaged, by count or
    evenly, the time interval is the union, counts add up. Gradients flow into everything kept.
    """
    rows, length = torch.arange(len(t), device=t.device), held.length
    new = torch.cat([stream.flatten(1) for stream in streams], dim=1).to(held.tokens.dtype)
    facts = torch.stack([t, t, torch.ones_like(t), torch.zeros_like(t)], dim=1)
    if told is not None:
        facts = torch.cat([facts, told], dim=1)
    age = (length - 1).clamp(min=0)
    newest = held.order[rows, age]
    arrival = likeness(held, held.tokens.detach()[rows, newest], new)
    held = replace(held, alike=held.alike.index_put((rows, age), arrival))
    full = length == held.slots
    if not t.is_cuda and not bool(full.any()):
        room = held.order[rows, length]
        tokens = _rewritten(held.tokens, new, room, room, full, full, torch.ones_like(facts[:, :1]))
        return replace(held, tokens=tokens, facts=held.facts.index_put((rows, room), facts))
    return _merge(held, new, facts, full, by_count)


@torch.no_grad()
def likeness(held: Entries, a: Tensor, b: Tensor) -> Tensor:
    """How alike entries with tokens (..., F) are, (...): cosine, averaged over the tokens of a stream and then over
    the streams of `held`."""
    streams = list(zip(held.streams(a), held.streams(b), strict=True))[: len(held.sizes)]
    return torch.stack([functional.cosine_similarity(x, y, dim=-1).mean(dim=-1) for x, y in streams]).mean(dim=0)


def _merge(held: Entries, new: Tensor, facts: Tensor, full: Tensor, by_count: bool) -> Entries:
    """With the new entry (B, F) and its `facts` (B, 4 + C), after `full` sessions (B,) merged a pair, as others have
    room."""
    rows, slots, length = torch.arange(len(new), device=new.device), held.slots, held.length
    pair = held.alike.argmax(dim=1)
    joins = full & (pair == slots - 1)  # the new entry itself is merged, into the newest that is held
    ages = torch.stack([torch.where(full, pair, (length - 1).clamp(min=0)), pair + 1, length, pair - 1, pair + 2])
    first, second, room, before, after = held.order[rows, ages.clamp(0, slots - 1)]
    free = torch.where(full, torch.where(joins, first, second), room)

    def unless(it: Tensor, which: Tensor, other: Tensor) -> Tensor:
        return torch.where(which.unsqueeze(-1), other, it)

    of_a, of_b = held.facts[rows, first], unless(held.facts[rows, second], joins, facts)
    share = of_a[:, 2:3] / (of_a[:, 2:3] + of_b[:, 2:3]) if by_count else torch.full_like(of_a[:, :1], 0.5)
    tokens = _rewritten(held.tokens, new, first, free, full, joins, share)
    merged = tokens.detach()[rows, first]
    of_both = torch.cat([of_a[:, :1], of_b[:, 1:2], of_a[:, 2:FACTS] + of_b[:, 2:FACTS], of_a[:, FACTS:]], dim=1)
    of_merged = unless(of_a, full, of_both)
    was = held.tokens.detach()
    neighbours = was[rows, before], unless(was[rows, after], pair + 2 >= slots, new.detach())
    alike = _without(held.alike, pair, full & ~joins, torch.zeros_like(held.alike[:, 0]))
    to_both = likeness(held, torch.stack(neighbours), merged.expand(2, -1, -1))
    for age, changed, now in zip((pair - 1, pair), (full & (pair > 0), full), to_both, strict=True):
        at = rows, age.clamp(min=0)
        alike = alike.index_put(at, torch.where(changed, now, alike[at]))
    return replace(
        held,
        tokens=tokens,
        facts=held.facts.index_put((rows, first), of_merged).index_put_((rows, free), unless(facts, joins, of_merged)),
        order=_without(held.order, pair, full & ~joins, free),
        alike=alike,
    )


class Rewritten(torch.autograd.Function):
    """Tokens (B, L, F) in which two rows are others: `first` takes up another where the session is `full`, with 1 -
    `share`, `free` is `new` (B, F); where the new one `joins` it is what `first` takes up, and `free` is `first`.

    Written by hand because autograd would clear and copy the whole bank for every row that is touched.
    """

    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, new: Tensor, first: Tensor, free: Tensor, full: Tensor, joins: Tensor, share: Tensor
    ) -> Tensor:
        ctx.save_for_backward(first, free, full, joins, share)
        rows, out = torch.arange(len(new), device=new.device), tokens.clone()
        full, joins = full.unsqueeze(1), joins.unsqueeze(1)
        a, b = tokens[rows, first], torch.where(joins, new, tokens[rows, free])
        merged = torch.where(full, share * a + (1 - share) * b, a)
        out[rows, first] = merged
        out[rows, free] = torch.where(joins, merged, new)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        first, free, full, joins, share = ctx.saved_tensors
        rows, of_tokens = torch.arange(len(first), device=first.device), grad.clone()
        full, joins = full.unsqueeze(1), joins.unsqueeze(1)
        of_first, of_free = grad[rows, first], grad[rows, free]
        of_a, of_b = torch.where(full, share * of_first, of_first), torch.where(full, (1 - share) * of_first, 0)
        of_tokens[rows, first] = of_a
        of_tokens[rows, free] = torch.where(joins, of_a, of_b)
        return of_tokens, torch.where(joins, of_b, of_free), None, None, None, None, None


_rewritten: Callable[..., Tensor] = Rewritten.apply


def _without(by_age: Tensor, pair: Tensor, moves: Tensor, last: Tensor) -> Tensor:
    """`by_age` (B, L) where the one after the `pair`-th is gone, younger ones are a place older, `last` (B,) is last;
    unchanged where nothing `moves` (B,)."""
    place = torch.arange(by_age.shape[1], device=by_age.device)
    older = place + (moves[:, None] & (place > pair[:, None])).long()
    return torch.cat([by_age, last[:, None]], dim=1).gather(1, older)
