"""Upstream's memory bank, number for number: what MemoryVLA's released code computes, so that its weights can be used.

Known defects are kept on purpose: the query has no time, one head is as wide as a token, each of the two streams merges
on its own and evenly, and an entry keeps the time of its older half. `bank.py` is without them.

Faster than upstream's: what projects keys and values is absorbed into the query and into what was read (DeepSeek-V2,
sec. 2.1.2), exact since there is one head. So nothing is projected that is held, and nothing but tokens is held.
The names of weights are upstream's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from robomem.memory.consolidation import write
from robomem.memory.entries import Entries
from robomem.memory.timestep import TimestepEncoder

LAYERS = 2


class CrossTransformerBlock(nn.Module):
    """The present asks what is held, with one head; normed after each half."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, dim) for _ in range(3))
        self.attn_norm, self.ffn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, held: Tensor, codes: Tensor, empty: Tensor | None) -> tuple[Tensor, Tensor]:
        """Updated `x` (B, N, D) and its attention (B, N, S, N), over tokens `held` (B, S, N, D) with time codes
        (B, S, D); `empty` (B, S) entries are left out."""
        asks, flat = self.asks(x), held.flatten(1, 2)
        by_entry = asks @ codes.transpose(1, 2)  # (B, N, S)
        if empty is not None:
            by_entry = by_entry.masked_fill(empty.unsqueeze(1), torch.finfo(x.dtype).min)
        scores = (asks @ flat.transpose(1, 2)).view(*by_entry.shape, -1) + by_entry.unsqueeze(-1)
        attention = scores.flatten(2).softmax(dim=-1)
        x = self.attn_norm(x + self.v_proj(attention @ flat))
        return self.ffn_norm(x + self.ffn(x)), attention.view_as(scores)

    def asks(self, x: Tensor) -> Tensor:
        """What `x` (B, N, D) asks of a held token itself; the bias of the keys is the same for all and is left out."""
        scale = x.shape[-1] ** -0.5
        return functional.linear(self.q_proj(x) * scale, self.k_proj.weight.T)


class GateFusion(nn.Module):
    """How much of the present is kept, for every feature."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(2 * dim, dim)
        nn.init.normal_(self.proj.weight, std=1e-3)
        nn.init.zeros_(self.proj.bias)

    def forward(self, present: Tensor, retrieved: Tensor) -> Tensor:
        """g * present + (1 - g) * retrieved, same shape as both."""
        gate: Tensor = self.proj(torch.cat([present, retrieved], dim=-1)).sigmoid()
        return torch.lerp(retrieved, present, gate)


class CompatibleBank(nn.Module):
    """One of upstream's two banks."""

    def __init__(self, dim: int, tokens: int, slots: int, write_fused: bool) -> None:
        super().__init__()
        self.dim, self.tokens, self.slots, self.write_fused = dim, tokens, slots, write_fused
        self.retrieval_blocks = nn.ModuleList(CrossTransformerBlock(dim) for _ in range(LAYERS))
        self.timestep_encoder = TimestepEncoder(dim // 4, dim)
        self.gate_fusion_blocks = GateFusion(dim)

    def empty(self, sessions: int = 1) -> Entries:
        """Nothing is held yet."""
        return Entries.empty(
            sessions, self.slots, ((self.tokens, self.dim),), self.gate_fusion_blocks.proj.weight.device
        )

    def forward(self, held: Entries, x: Tensor, t: Tensor) -> tuple[Tensor, Entries]:
        """Fused tokens for `x` (B, N, D) at `t` (B,) [steps], and what is held after. Reads before it writes."""
        retrieved, looked = self.read(held, x)
        any_held = (held.length > 0)[:, None, None]
        fused = torch.where(any_held, self.gate_fusion_blocks(x, retrieved), x)
        written = fused if self.write_fused else x
        return fused, write(held.looked_at(looked), (written,), t, by_count=False)

    def read(self, held: Entries, x: Tensor) -> tuple[Tensor, Tensor]:
        """What `held` says to `x` (B, N, D), and attention over its first n entries (B, n)."""
        n, (tokens,), empty = held.readable()
        looked = torch.zeros_like(held.count[:, :n])
        if n == 0:
            return x, looked
        tokens, codes = tokens.to(x.dtype), self.timestep_encoder(held.start[:, :n])
        for block in self.retrieval_blocks:
            x, share = block(x, tokens, codes, empty)
            looked = looked + share.sum(dim=-1).mean(dim=1) / LAYERS
        return x, looked if empty is None else looked.masked_fill(empty, 0)
