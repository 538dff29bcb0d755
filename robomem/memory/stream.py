"""One stream of tokens, cognitive or perceptual, and what is remembered of it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robomem.memory.gate import Gate
from robomem.memory.holding import Narrow, Summary, Whole
from robomem.memory.retrieval import Retrieval


class Stream(nn.Module):
    """`tokens` of `dim`, of which a summary of `held_tokens`, or `held_dim` features, is held; 0: all."""

    def __init__(
        self, tokens: int, dim: int, heads: int, layers: int, ages: bool, held_tokens: int = 0, held_dim: int = 0
    ) -> None:
        super().__init__()
        self.held = n, width = held_tokens or tokens, held_dim or dim
        if n > tokens or width > dim:
            raise ValueError(f"of {tokens} tokens {dim} wide, {n} tokens {width} wide cannot be held")
        narrow = Narrow(dim, held_dim) if held_dim else Whole()
        self.hold = Summary(dim, held_tokens, heads) if held_tokens else narrow
        self.read = Retrieval(width, heads, layers, ages)
        self.gate = Gate(dim, width)

    def keep(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What is held of `x` (B, N, D), and what is derived from it for reading."""
        held = self.hold.hold(x)
        return held, self.read.derive(held)

    def forward(
        self, x: Tensor, told: Sequence[Tensor], t: Tensor, held_t: Tensor, empty: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Fused tokens (B, N, D) for `x`, and attention over entries (B, S); the rest as `Retrieval` takes it. Where
        nothing is held, the present is what is fused."""
        asks = self.hold.hold(x)
        read, attention = self.read(asks, told, t, held_t, empty)
        fused = self.gate(x, *self.hold.tell(x, asks, read))
        return fused if empty is None else torch.where(empty.all(dim=1)[:, None, None], x, fused), attention
