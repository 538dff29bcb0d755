"""What a bank holds: moments as tokens, and the time each stands for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

Sizes = tuple[tuple[int, int], ...]
FACTS = 4  # of every entry: start, end, count, attention


@dataclass(frozen=True, eq=False)
class Entries:
    """B sessions of L slots. An entry stays in its slot while others come and go; `order` tells which is older.

    An entry is a row: its tokens, of one stream or several, which so merge together, and its facts. What a bank would
    else compute anew at every read is a part of it: what is `derived` from tokens, linearly, merges as they do, and
    what is told of its start stays with the older. The tensors are never written in place, so copies share them safely.
    """

    sizes: Sizes  # of every stream: N tokens, D wide
    derived: Sizes  # likewise of what is derived from them
    tokens: Tensor  # (B, L, F) those of all streams, one after the other, then what is derived
    facts: Tensor  # (B, L, 4 + C) start, end, moments merged into it, share of the last read, what is told of its start
    order: Tensor  # (B, L) slot of the k-th oldest entry; after them the empty slots
    alike: Tensor  # (B, L) likeness of the k-th oldest entry and the next; of the last one no meaning

    @classmethod
    def empty(
        cls,
        sessions: int,
        slots: int,
        sizes: Sizes,
        derived: Sizes = (),
        told: int = 0,
        device: torch.device | None = None,
    ) -> Self:
        """Nothing is held yet. `told` numbers are kept of every start."""
        tokens = torch.zeros(sessions, slots, sum(n * dim for n, dim in (*sizes, *derived)), device=device)
        facts, alike = tokens.new_zeros(sessions, slots, FACTS + told), tokens.new_zeros(sessions, slots)
        return cls(sizes, derived, tokens, facts, torch.arange(slots, device=device).repeat(sessions, 1), alike)

    @property
    def start(self) -> Tensor:
        """First moment an entry stands for, (B, L)."""
        return self.facts[..., 0]

    @property
    def end(self) -> Tensor:
        """Last moment an entry stands for, (B, L)."""
        return self.facts[..., 1]

    @property
    def count(self) -> Tensor:
        """Moments merged into an entry, (B, L), 0: the slot is empty."""
        return self.facts[..., 2]

    @property
    def attention(self) -> Tensor:
        """Share of the last read, (B, L)."""
        return self.facts[..., 3]

    @property
    def told(self) -> Tensor:
        """Of its start, (B, L, C)."""
        return self.facts[..., FACTS:]

    @property
    def slots(self) -> int:
        """L."""
        return self.order.shape[1]

    @property
    def filled(self) -> Tensor:
        """Which slots hold an entry, (B, L)."""
        return self.count > 0

    @property
    def length(self) -> Tensor:
        """Entries held, (B,)."""
        return self.filled.sum(dim=1)

    def streams(self, rows: Tensor) -> tuple[Tensor, ...]:
        """What is in rows (..., F), (..., N, D): tokens by stream, then what is derived."""
        sizes = *self.sizes, *self.derived
        parts = torch.split(rows, [n * dim for n, dim in sizes], dim=-1)
        return tuple(part.view(*part.shape[:-1], *size) for part, size in zip(parts, sizes, strict=True))

    def readable(self) -> tuple[int, tuple[Tensor, ...], Tensor | None]:
        """How many slots to read (the others are empty in every session), their `streams` (B, n, N, D), which of them
        are empty (B, n), None when none is. Where asking would wait for a device, all slots are read."""
        n = self.slots if self.facts.is_cuda else int(self.length.max())
        held = self.tokens if n == self.slots else self.tokens[:, :n]
        empty = ~self.filled[:, :n]
        if not self.facts.is_cuda and not bool(empty.any()):
            return n, self.streams(held), None
        return n, self.streams(held.masked_fill(empty.unsqueeze(-1), 0)), empty

    def looked_at(self, share: Tensor) -> Self:
        """A copy with the share (B, n) that each of the first n slots had of a read."""
        unread = share.new_zeros(len(share), self.slots - share.shape[1])
        shares = torch.cat([share, unread], dim=1).unsqueeze(-1)
        return replace(self, facts=torch.cat([self.facts[..., : FACTS - 1], shares, self.told], dim=-1))

    def shifted(self, dt: float) -> Self:
        """A copy of what happened `dt` later."""
        later = dt * self.filled.unsqueeze(-1)
        return replace(self, facts=torch.cat([self.facts[..., :2] + later, self.facts[..., 2:]], -1))

    def forgotten(self) -> Self:
        """As many sessions and slots, all empty."""
        told, device = self.told.shape[-1], self.order.device
        return self.empty(len(self.order), self.slots, self.sizes, self.derived, told, device)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {name: value for name, value in vars(self).items() if name not in ("sizes", "derived")}

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """A copy with every tensor changed."""
        return type(self)(self.sizes, self.derived, **{name: change(tensor) for name, tensor in self.tensors().items()})
