"""One stream of what is held: tokens of moments, and the time each stands for."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Stream:
    """B sessions of L slots. An entry stays in its slot while others come and go; `order` tells which is older.

    The tensors are never written in place, so copies share them safely.
    """

    tokens: Tensor  # (B, L, N, D)
    start: Tensor  # (B, L) first moment an entry stands for
    end: Tensor  # (B, L) last moment
    count: Tensor  # (B, L) moments merged into an entry, 0: empty slot
    attention: Tensor  # (B, L) share of the last read
    order: Tensor  # (B, L) slot of the k-th oldest entry; after them the empty slots
    alike: Tensor  # (B, L) likeness of the k-th oldest entry and the next; of the last one no meaning

    @classmethod
    def empty(cls, sessions: int, slots: int, tokens: int, dim: int, device: torch.device | None = None) -> Self:
        """Nothing is held yet."""
        start, end, count, attention, alike = torch.zeros(5, sessions, slots, device=device).unbind()
        order = torch.arange(slots, device=device).repeat(sessions, 1)
        return cls(torch.zeros(sessions, slots, tokens, dim, device=device), start, end, count, attention, order, alike)

    @property
    def filled(self) -> Tensor:
        """Which slots hold an entry, (B, L)."""
        return self.count > 0

    @property
    def length(self) -> Tensor:
        """Entries held, (B,)."""
        return self.filled.sum(dim=1)

    def readable(self) -> tuple[int, Tensor, Tensor | None]:
        """How many slots to read (the others are empty in every session), their tokens (B, n, N, D), and which of them
        are empty (B, n), None when none is. Where asking would wait for a device, all slots are read."""
        n = self.order.shape[1] if self.count.is_cuda else int(self.length.max())
        empty = ~self.filled[:, :n]
        if not self.count.is_cuda and not bool(empty.any()):
            return n, self.tokens[:, :n], None
        return n, self.tokens[:, :n].masked_fill(empty[:, :, None, None], 0), empty

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """A copy with every tensor changed."""
        return type(self)(**{name: change(tensor) for name, tensor in self.tensors().items()})
