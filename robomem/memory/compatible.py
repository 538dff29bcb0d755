"""Upstream's memory bank, number for number: what MemoryVLA's released code computes, so that its weights can be used.

Known defects are kept on purpose: the query has no time, one head is as wide as a token, each of the two streams merges
on its own and evenly, and an entry keeps the time of its older half. `bank.py` is without them.

Faster than upstream's: what projects keys and values is absorbed into the query and into what was read (DeepSeek-V2,
sec. 2.1.2), exact since there is one head. So nothing is projected that is held; and the code of a time is kept with
the entry. The names of weights are upstream's.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from robomem.memory.consolidation import write
from robomem.memory.entries import Entries
from robomem.memory.state import MemoryState
from robomem.memory.timestep import TimestepEncoder

LAYERS = 2
TOKENS_AT_ONCE = 512  # of what is held


class CrossTransformerBlock(nn.Module):
    """The present asks what is held, with one head; normed after each half."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, dim) for _ in range(3))
        self.attn_norm, self.ffn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, held: Tensor, codes: Tensor, empty: Tensor | None) -> tuple[Tensor, Tensor]:
        """Updated `x` (B, N, D) and the share of its attention (B, S), over tokens `held` (B, S, N, D) with time codes
        (B, S, D); `empty` (B, S) entries are left out."""
        asks = self.asks(x)
        by_entry = asks @ codes.transpose(1, 2)  # (B, N, S)
        if empty is not None:
            by_entry = by_entry.masked_fill(empty.unsqueeze(1), torch.finfo(x.dtype).min)
        read, share = attend(asks, held, by_entry)
        x = self.attn_norm(x + self.v_proj(read))
        return self.ffn_norm(x + self.ffn(x)), share

    def asks(self, x: Tensor) -> Tensor:
        """What `x` (B, N, D) asks of a held token itself; the bias of the keys is the same for all and is left out."""
        scale = x.shape[-1] ** -0.5
        return functional.linear(self.q_proj(x) * scale, self.k_proj.weight.T)


def attend(asks: Tensor, held: Tensor, by_entry: Tensor) -> tuple[Tensor, Tensor]:
    """Attention of `asks` (B, Q, D) over `held` (B, S, N, D), whose scores are those of tokens and, (B, Q, S), of the
    entries: what was read (B, Q, D), and the share of every entry (B, S).

    Softmax is taken over few entries at a time, so that their scores stay in a CPU's cache (Milakov and Gimelshein
    2018; Rabe and Staats 2021, alg. 1); a GPU takes all at once.
    """
    several = max(1, held.shape[1] if held.is_cuda else TOKENS_AT_ONCE // held.shape[2])
    top, total, read = by_entry.new_full((*asks.shape[:2], 1), -torch.inf), asks.new_zeros(()), torch.zeros_like(asks)
    parts = []
    for first in range(0, held.shape[1], several):
        entries, bias = held[:, first : first + several], by_entry[:, :, first : first + several]
        flat = entries.flatten(1, 2)
        scores = (asks @ flat.transpose(1, 2)).view(*bias.shape, -1)  # (B, Q, s, N)
        fade, top = top, torch.maximum(top, (scores.amax(dim=-1) + bias).amax(dim=-1, keepdim=True))
        fade, weights = (fade - top).exp(), (scores + (bias - top).unsqueeze(-1)).exp()
        sums = weights.sum(dim=-1)
        total = total * fade + sums.sum(dim=-1, keepdim=True)
        read = torch.baddbmm(read * fade, weights.flatten(2), flat)
        parts.append((sums, top))
    share = torch.cat([(sums * (at - top).exp() / total).mean(dim=1) for sums, at in parts], dim=1)
    return read / total, share


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

    def empty(self, sessions: int = 1, slots: int | None = None) -> Entries:
        """Nothing is held yet, by default in as many slots as configured."""
        device, sizes = self.gate_fusion_blocks.proj.weight.device, ((self.tokens, self.dim),)
        return Entries.empty(sessions, slots or self.slots, sizes, told=self.dim, device=device)

    def forward(self, held: Entries, x: Tensor, step: Tensor, t: Tensor | None = None) -> tuple[Tensor, Entries]:
        """Fused tokens for `x` (B, N, D) at `step` (B,), and what is held after. Reads before it writes.

        Entries are dated by `t` (B,) [s], if that is known; upstream goes by steps.
        """
        retrieved, looked = self.read(held, x)
        any_held = (held.length > 0)[:, None, None]
        fused = torch.where(any_held, self.gate_fusion_blocks(x, retrieved), x)
        held = held.looked_at(looked.detach())
        return fused, self.keep(held, fused if self.write_fused else x, step, t)

    def keep(self, held: Entries, x: Tensor, step: Tensor, t: Tensor | None = None) -> Entries:
        """`held` with `x` (B, N, D) of `step` (B,); no gradient runs through it."""
        return write(held, (x.detach(),), step if t is None else t, self.timestep_encoder(step), by_count=False)

    def read(self, held: Entries, x: Tensor) -> tuple[Tensor, Tensor]:
        """What `held` says to `x` (B, N, D), and attention over its first n entries (B, n)."""
        n, (tokens,), empty = held.readable()
        looked = torch.zeros_like(held.count[:, :n])
        if n == 0:
            return x, looked
        tokens, codes = tokens.to(x.dtype), held.told[:, :n].to(x.dtype)
        if empty is not None:
            codes = codes.masked_fill(empty.unsqueeze(-1), 0)
        for block in self.retrieval_blocks:
            x, share = block(x, tokens, codes, empty)
            looked = looked + share / LAYERS
        return x, looked if empty is None else looked.masked_fill(empty, 0)


@dataclass(frozen=True)
class CompatibleConfig:
    """Sizes of both banks, and what they write; upstream's default is "raw", its paper says "fused"."""

    slots: int = 16
    tokens: int = 256
    perceptual_dim: int = 256
    cognitive_dim: int = 4096
    written: Literal["fused", "raw"] = "raw"
    enabled: Literal[True] = True


class CompatibleMemory(nn.Module):
    """Both banks, with the methods of a `MemoryBank`: the weights of upstream's memory."""

    def __init__(self, config: CompatibleConfig) -> None:
        super().__init__()
        self.config = c = config
        fused = c.written == "fused"
        self.cognitive_bank = CompatibleBank(c.cognitive_dim, 1, c.slots, fused)
        self.perceptual_bank = CompatibleBank(c.perceptual_dim, c.tokens, c.slots, fused)

    def empty(self, sessions: int = 1, seed: int = 0, slots: int | None = None) -> MemoryState:
        """A state of this memory's shape that holds nothing, by default in as many slots as configured."""
        banks = self.cognitive_bank, self.perceptual_bank
        return MemoryState(tuple(bank.empty(sessions, slots) for bank in banks), seed)

    def forward(
        self, state: MemoryState, cognitive: Tensor, perceptual: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """As `MemoryBank`: one step at `t` (B,) [s]."""
        step = torch.full_like(t, state.step)
        fused_c, held_c = self.cognitive_bank(state.banks[0], cognitive, step, t)
        fused_p, held_p = self.perceptual_bank(state.banks[1], perceptual, step, t)
        return fused_c, fused_p, replace(state, banks=(held_c, held_p), step=state.step + 1)
