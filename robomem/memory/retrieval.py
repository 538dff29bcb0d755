"""Reading: the present asks, the held entries answer (MemoryVLA eq. 5 and 6)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SHORTEST_PERIOD = 0.8  # s, two policy steps at 2.5 Hz
LONGEST_PERIOD = 240.0  # s, longer than the longest episode


def rates(half: int) -> Tensor:
    """Angular rates (`half`,) [rad/s] of pairs of features, for periods from 0.8 s to 240 s."""
    ratio = torch.arange(half, dtype=torch.float32) / max(half - 1, 1)
    return 2 * math.pi / (SHORTEST_PERIOD * (LONGEST_PERIOD / SHORTEST_PERIOD) ** ratio)


def rotate_by_time(tokens: Tensor, t: Tensor, rate: Tensor) -> Tensor:
    """Tokens (B, heads, S, N, D) turned by the times `t` (B, S) [s] of the moments that N of them are of, so that a dot
    product sees the age between them.

    Rotary position encoding (Su et al. 2021, eq. 34) on physical seconds, at `rate` (D / 2,).
    """
    half = tokens.shape[-1] // 2
    angle = t[:, None, :, None, None].float() * rate
    cos, sin = angle.cos(), angle.sin()
    even, odd = tokens[..., :half], tokens[..., half:]
    return torch.cat([even * cos - odd * sin, even * sin + odd * cos], dim=-1)


class RetrievalLayer(nn.Module):
    """One cross-attention block of the present tokens over the held entries, pre-normed, several heads."""

    rate: Tensor

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.register_buffer("rate", rates(dim // heads // 2), persistent=False)
        self.norm_query, self.norm_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.feed = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(
        self, x: Tensor, told: Tensor, t: Tensor | None, held_t: Tensor, empty: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Updated `x` (B, Q, D) and attention over entries (B, S), whose keys and values are `told` (B, S, N, 2 D).

        `t` (B,) and `held_t` (B, S) [s]; `empty` (B, S) entries are left out.
        """
        keys, values = (self._split(part) for part in told.chunk(2, dim=-1))  # (B, heads, S, N, D / heads)
        query = self._split(self.query(self.norm_query(x)).unsqueeze(1))
        if t is not None:
            query = rotate_by_time(query, t.unsqueeze(1), self.rate)
        keys = rotate_by_time(keys, held_t, self.rate)
        scores = query.squeeze(2) @ keys.flatten(2, 3).transpose(-1, -2) / math.sqrt(keys.shape[-1])
        if empty is not None:
            scores = scores.masked_fill(empty.repeat_interleave(told.shape[2], dim=1)[:, None, None], -1e4)
        attention = functional.softmax(scores, dim=-1)
        x = x + self.out((attention @ values.flatten(2, 3)).transpose(1, 2).flatten(2))
        share = attention.mean(dim=(1, 2)).view(len(x), -1, told.shape[2]).sum(dim=-1)
        return x + self.feed(self.norm_feed(x)), share

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:3], self.heads, -1).permute(0, 3, 1, 2, 4)


class Retrieval(nn.Module):
    """What the held entries of one stream say to the present tokens."""

    def __init__(self, dim: int, heads: int, layers: int, ages: bool = True) -> None:
        super().__init__()
        self.ages = ages
        self.layers: Sequence[RetrievalLayer] = nn.ModuleList(  # type: ignore[assignment]
            RetrievalLayer(dim, heads) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)

    def derive(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Keys and values (B, N, 2 D) of tokens (B, N, D) that will be held, a layer each; linear."""
        return tuple(layer.key_value(tokens) for layer in self.layers)

    def forward(
        self, x: Tensor, told: Sequence[Tensor], t: Tensor, held_t: Tensor, empty: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Retrieved (B, N, D) and attention over entries (B, S).

        `x` (B, N, D) at `t` (B,) [s]; what was derived of S entries at `held_t` (B, S) [s], `told` (B, S, N, 2 D) a
        layer, of which `empty` (B, S) are none.
        """
        read, attention, now = x, held_t.new_zeros(()), t if self.ages else None
        for layer, of_layer in zip(self.layers, told, strict=True):
            read, share = layer(read, of_layer, now, held_t, empty)
            attention = attention + share / len(self.layers)
        return self.norm(read), attention if empty is None else attention * ~empty
