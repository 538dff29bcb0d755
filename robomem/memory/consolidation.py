"""Over capacity, the two neighbours in time that are most alike become one (MemoryVLA eq. 9).

A write touches two slots, however many there are: one takes the merged entry, the other, now free, the new one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from robomem.memory.stream import Stream


def likeness(a: Tensor, b: Tensor) -> Tensor:
    """How alike entries (B, N, D) are, (B,): cosine, averaged over tokens."""
    return functional.cosine_similarity(a, b, dim=-1).mean(dim=-1)


def write(streams: Sequence[Stream], tokens: Sequence[Tensor], t: Tensor, by_count: bool = True) -> tuple[Stream, ...]:
    """`streams` with one more entry each, `tokens` (B, N, D) of the moment `t` (B,).

    A full session first merges two neighbours, the new entry among them, the same two in all streams, so that they stay
    aligned. Merged tokens are averaged, by count or evenly, the time interval is the union, counts add up. Gradients
    flow into everything kept.
    """
    alike = [_with_arrival(stream, new) for stream, new in zip(streams, tokens, strict=True)]
    pair = torch.stack(alike).mean(dim=0).argmax(dim=1)
    each = zip(streams, tokens, alike, strict=True)
    return tuple(_write(stream, new, t, pair, likenesses, by_count) for stream, new, likenesses in each)


def _write(stream: Stream, tokens: Tensor, t: Tensor, pair: Tensor, alike: Tensor, by_count: bool) -> Stream:
    """`stream` with one more entry; in full sessions the `pair`-th oldest (B,) and the next have become one."""
    rows = torch.arange(len(t), device=t.device)
    slots = stream.order.shape[1]
    length = stream.length
    full = length == slots
    joins = full & (pair == slots - 1)  # the new entry itself is merged, into the newest that is held
    moves = full & ~joins
    first = stream.order[rows, torch.where(full, pair, (length - 1).clamp(min=0))]
    second = stream.order[rows, torch.where(moves, pair + 1, pair)]
    free = torch.where(full, torch.where(joins, first, second), stream.order[rows, length.clamp(max=slots - 1)])

    def of_second(held: Tensor, new: Tensor) -> Tensor:
        return torch.where(_beside(joins, new), new, held[rows, second])

    def put(held: Tensor, merged: Tensor, new: Tensor) -> Tensor:
        merged = torch.where(_beside(full, merged), merged, held[rows, first])
        last = torch.where(_beside(joins, new), merged, new)
        return held.index_put((rows, first), merged).index_put_((rows, free), last)

    one, none = torch.ones_like(t), torch.zeros_like(t)
    counts = stream.count[rows, first], of_second(stream.count, one)
    share = counts[0] / (counts[0] + counts[1]) if by_count else torch.full_like(t, 0.5)
    merged = torch.lerp(of_second(stream.tokens, tokens), stream.tokens[rows, first], share[:, None, None])
    attention = stream.attention[rows, first] + of_second(stream.attention, none)
    return Stream(
        tokens=put(stream.tokens, merged, tokens),
        start=put(stream.start, stream.start[rows, first], t),
        end=put(stream.end, of_second(stream.end, t), t),
        count=put(stream.count, counts[0] + counts[1], one),
        attention=put(stream.attention, attention, none),
        order=_without(stream.order, pair, moves, free),
        alike=_alike_after(stream, merged.detach(), tokens.detach(), pair, alike, full),
    )


@torch.no_grad()
def _with_arrival(stream: Stream, tokens: Tensor) -> Tensor:
    """Likenesses by age, (B, L), that of the newest entry and `tokens` (B, N, D) put at its place."""
    rows = torch.arange(len(tokens), device=tokens.device)
    newest = (stream.length - 1).clamp(min=0)
    arrival = likeness(stream.tokens[rows, stream.order[rows, newest]], tokens)
    return stream.alike.index_put((rows, newest), arrival.to(stream.alike.dtype))


def _without(by_age: Tensor, pair: Tensor, moves: Tensor, last: Tensor) -> Tensor:
    """`by_age` (B, L) where the one after the `pair`-th is gone, all younger ones are a place older, `last` (B,) comes
    last; only where it `moves` (B,)."""
    place = torch.arange(by_age.shape[1], device=by_age.device)
    older = place + (moves[:, None] & (place > pair[:, None])).long()
    return torch.cat([by_age, last[:, None]], dim=1).gather(1, older)


@torch.no_grad()
def _alike_after(stream: Stream, merged: Tensor, new: Tensor, pair: Tensor, alike: Tensor, full: Tensor) -> Tensor:
    """Likenesses by age after a write: those of the merged entry and its neighbours are other ones."""
    rows, slots = torch.arange(len(pair), device=pair.device), stream.order.shape[1]

    def held(age: Tensor) -> Tensor:
        return stream.tokens[rows, stream.order[rows, age.clamp(0, slots - 1)]]

    following = torch.where(_beside(pair + 2 < slots, new), held(pair + 2), new)
    changed = _without(alike, pair, full & (pair < slots - 1), torch.zeros_like(alike[:, 0]))
    for age, a, b in ((pair - 1, held(pair - 1), merged), (pair, merged, following)):
        at = age.clamp(min=0)
        now = torch.where(full & (age >= 0), likeness(a, b).to(alike.dtype), changed[rows, at])
        changed = changed.index_put((rows, at), now)
    return changed


def _beside(which: Tensor, value: Tensor) -> Tensor:
    """`which` (B,) shaped to choose among values (B, ...)."""
    return which.view(-1, *[1] * (value.dim() - 1))
