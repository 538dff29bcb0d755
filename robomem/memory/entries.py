"""What a bank holds: moments as tokens, and the time each stands for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

Sizes = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Entries:
    """B sessions of L slots. An entry stays in its slot while others come and go; `order` tells which is older.

    An entry is a row: its tokens, of one stream or several, which so merge together, and its facts. The tensors are
    never written in place, so copies share them safely.
    """

    sizes: Sizes  # of every stream: N tokens, D wide
    tokens: Tensor  # (B, L, F) those of all streams, one after the other
    facts: Tensor  # (B, L, 4) start and end of what it stands for, moments merged into it, share of the last read
    order: Tensor  # (B, L) slot of the k-th oldest entry; after them the empty slots
    alike: Tensor  # (B, L) likeness of the k-th oldest entry and the next; of the last one no meaning

    @classmethod
    def empty(cls, sessions: int, slots: int, sizes: Sizes, device: torch.device | None = None) -> Self:
        """Nothing is held yet."""
        tokens = torch.zeros(sessions, slots, sum(n * dim for n, dim in sizes), device=device)
        facts, alike = tokens.new_zeros(sessions, slots, 4), tokens.new_zeros(sessions, slots)
        return cls(sizes, tokens, facts, torch.arange(slots, device=device).repeat(sessions, 1), alike)

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
        """Tokens (..., F) of entries by stream, (..., N, D)."""
        parts = torch.split(rows, [n * dim for n, dim in self.sizes], dim=-1)
        return tuple(part.view(*part.shape[:-1], *size) for part, size in zip(parts, self.sizes, strict=True))

    def readable(self) -> tuple[int, tuple[Tensor, ...], Tensor | None]:
        """How many slots to read (the others are empty in every session), their tokens by stream (B, n, N, D), which of
        them are empty (B, n), None when none is. Where asking would wait for a device, all slots are read."""
        n = self.slots if self.facts.is_cuda else int(self.length.max())
        held, empty = self.tokens[:, :n], ~self.filled[:, :n]
        if not self.facts.is_cuda and not bool(empty.any()):
            return n, self.streams(held), None
        return n, self.streams(held.masked_fill(empty.unsqueeze(-1), 0)), empty

    def looked_at(self, share: Tensor) -> Self:
        """A copy with the share (B, n) that each of the first n slots had of a read."""
        unread = share.new_zeros(len(share), self.slots - share.shape[1])
        return replace(self, facts=torch.cat([self.facts[..., :3], torch.cat([share, unread], 1).unsqueeze(-1)], -1))

    def shifted(self, dt: float) -> Self:
        """A copy of what happened `dt` later."""
        later = dt * self.filled.unsqueeze(-1)
        return replace(self, facts=torch.cat([self.facts[..., :2] + later, self.facts[..., 2:]], -1))

    def forgotten(self) -> Self:
        """As many sessions and slots, all empty."""
        return self.empty(len(self.order), self.slots, self.sizes, self.order.device)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {name: value for name, value in vars(self).items() if name != "sizes"}

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """A copy with every tensor changed."""
        return type(self)(self.sizes, **{name: change(tensor) for name, tensor in self.tensors().items()})
