"""The action expert: a diffusion transformer over the tokens of an action chunk (Peebles and Xie 2023, adaLN-zero).

The noisy chunk attends to itself and to the constant tokens: the memory-fused cognitive token, the body, the
memory-fused perceptual tokens. What does not change while a chunk is denoised (the constant tokens as every layer reads
them, modulation of every step) is computed once, by `prepare`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from robomem.memory.timestep import embed_time


@dataclass(frozen=True)
class DiTConfig:
    """Sizes; `horizon` actions of `action_dim` numbers."""

    horizon: int = 8
    action_dim: int = 7
    dim: int = 192
    heads: int = 4
    layers: int = 3
    cognitive_dim: int = 146  # the token and the sub-goal
    perceptual_dim: int = 64
    body_dim: int = 11


class Condition(NamedTuple):
    """What a chunk is made for: memory-fused cognitive (B, 1, Dc) and perceptual (B, N, Dp) tokens, body (B, P).

    The cognitive token may come with what was read from it, a sub-goal: Dc is the width of both.
    """

    cognitive: Tensor
    perceptual: Tensor
    body: Tensor


class Constant(NamedTuple):
    """The constant tokens as one layer reads them. H heads times 2 + N tokens is K: `keys` (B, D, K) and `bias`
    (B, 1, K) make a token of the chunk into scores, `values` (B, K, D) make its attention into what it takes up.

    The projections before and after attention are part of it (absorbed, as in DeepSeek-V2, sec. 2.1.2): done once a
    chunk, not at every step. It pays where K is less than D.
    """

    keys: Tensor
    bias: Tensor
    values: Tensor


@dataclass(frozen=True)
class Conditioning:
    """All that stays the same while a chunk is denoised, by layer: the constant tokens, and the modulation
    (B, S, 6, 1, D) of S denoising steps; `final` (B, S, 2, 1, D) is the last layer's. Actions that are `given`
    (B, 1, h, 1) clean are modulated by the last of the S at every step."""

    constant: tuple[Constant, ...]
    modulation: tuple[Tensor, ...]
    final: Tensor
    given: Tensor | None = None

    def first(self, batch: int) -> "Conditioning":
        """Of the first `batch` chunks."""
        constant = tuple(Constant(*(part[:batch] for part in layer)) for layer in self.constant)
        given = None if self.given is None else self.given[:batch]
        return Conditioning(constant, tuple(layer[:batch] for layer in self.modulation), self.final[:batch], given)

    def at(self, told: Tensor, step: int) -> Tensor:
        """The modulation of `told` (B, S, K, 1, D) at a step, (B, K, 1, D), or (B, K, h, D) where actions are given."""
        return told[:, step] if self.given is None else torch.where(self.given, told[:, -1], told[:, step])


def modulation(told: Tensor, neutral: tuple[float, ...]) -> Tensor:
    """(B, S, K * D) as K parts (B, S, K, 1, D), each around its `neutral` value: 0 for a shift or gate, 1 for a
    scale."""
    return told.unflatten(-1, (len(neutral), 1, -1)) + told.new_tensor(neutral)[:, None, None]


class Block(nn.Module):
    """Self-attention over the chunk, cross-attention to the constant tokens, feed-forward."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.norm_cross = nn.LayerNorm(dim)
        self.qkv, self.out_self = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.query, self.key_value, self.out_cross = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim))
        self.modulate = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def stick(self) -> None:
        """Zero what asks and what is asked for: neither gets a gradient ever again, attention is even for good."""
        dim = self.query.weight.shape[0]
        for zeroed in (self.query.weight, self.query.bias, self.key_value.weight[:dim], self.key_value.bias[:dim]):
            nn.init.zeros_(zeroed)

    def constant(self, tokens: Tensor) -> Constant:
        """The constant tokens (B, S, D) as this layer reads them."""
        keys, values = self._split(self.key_value(tokens), 2)  # (B, heads, S, D / heads)
        keys = keys * keys.shape[-1] ** -0.5
        asks = self.query.weight.unflatten(0, (self.heads, -1))
        takes = self.out_cross.weight.unflatten(1, (self.heads, -1)).permute(1, 2, 0)
        return Constant(
            _by_head(keys, asks).flatten(1, 2).transpose(1, 2).contiguous(),
            (keys @ self.query.bias.view(self.heads, -1, 1)).flatten(1).unsqueeze(1),
            (_by_head(values, takes) + self.out_cross.bias / self.heads).flatten(1, 2),  # a head's attention sums to 1
        )

    def forward(self, x: Tensor, constant: Constant, modulated: Tensor) -> Tensor:
        """`x` (B, h, D); `modulated` (B, 6, 1, D), or (B, 6, h, D) where each action has its own."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = modulated.unbind(1)
        told = torch.addcmul(shift_a, self.norm(x), scale_a)
        q, k, v = self._split(self.qkv(told.flatten(0, 1)).view(*x.shape[:2], -1), 3)
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = torch.addcmul(x, gate_a, self.out_self(attended.flatten(0, 1)).view_as(x))
        scores = torch.baddbmm(constant.bias, self.norm_cross(x), constant.keys)
        share = scores.unflatten(-1, (self.heads, -1)).softmax(dim=-1).flatten(2)
        x = torch.baddbmm(x, share, constant.values)
        told = torch.addcmul(shift_f, self.norm(x), scale_f)
        return torch.addcmul(x, gate_f, self.feed(told.flatten(0, 1)).view_as(x))

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        return x.view(*x.shape[:2], parts, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def _by_head(x: Tensor, weight: Tensor) -> Tensor:
    """`x` (B, H, S, d) by the `weight` (H, d, D) of each head, (B, H, S, D).

    One product a head for the whole batch: broadcast over B, the weight's gradient would be made B times, then summed.
    """
    heads, batch = x.transpose(0, 1), len(x)
    return torch.bmm(heads.flatten(1, 2), weight).unflatten(1, (batch, -1)).transpose(0, 1)


class DiT(nn.Module):
    """Predicts the clean chunk (or the noise, as the sampler is configured) from a noisy one."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.embed = nn.Linear(config.action_dim, dim)
        self.place = nn.Parameter(torch.randn(config.horizon, dim) * 0.02)
        self.from_cognitive = nn.Linear(config.cognitive_dim, dim)
        self.from_perceptual = nn.Linear(config.perceptual_dim, dim)
        self.from_body = nn.Linear(config.body_dim, dim)
        self.nothing = nn.Parameter(torch.randn(config.cognitive_dim) * 0.02)  # the unguided branch's cognitive token
        self.time = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList(Block(dim, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.final = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, config.action_dim)
        for layer in (self.final, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def stick(self) -> None:
        """Start as upstream's expert does, whose perceptual attention never learns where to look (for ablations)."""
        for block in self.blocks:
            block.stick()

    def prepare(self, condition: Condition, times: Tensor, given: Tensor | None = None) -> Conditioning:
        """What the denoising of `times` (B, S) needs of `condition`.

        Where actions are `given` (B, h) clean, the last of the times is theirs (per-token adaLN, arXiv 2512.05964).
        """
        known, body = self.from_cognitive(condition.cognitive), self.from_body(condition.body).unsqueeze(1)
        constant = torch.cat([known, body, self.from_perceptual(condition.perceptual)], dim=1)
        read = tuple(block.constant(constant) for block in self.blocks)
        signal = functional.silu(self.time(embed_time(times, self.config.dim)) + known + body)  # (B, S, D)
        modulated = tuple(modulation(block.modulate(signal), (0, 1, 0, 0, 1, 0)) for block in self.blocks)
        whose = None if given is None else given[:, None, :, None]
        return Conditioning(read, modulated, modulation(self.final(signal), (0, 1)), whose)

    def prepare_guided(
        self, condition: Condition, times: Tensor, given: Tensor | None = None
    ) -> tuple[Conditioning, Conditioning]:
        """The same for both guidance branches, with the cognitive token and without; and for the first alone."""
        free = condition._replace(cognitive=self.nothing.expand_as(condition.cognitive))
        branches = zip(condition, free, strict=True)
        twice = None if given is None else torch.cat([given, given])
        both = self.prepare(Condition(*map(torch.cat, branches)), torch.cat([times, times]), twice)
        return both, both.first(len(times))

    def forward(self, noisy: Tensor, given: Conditioning, step: int = 0) -> Tensor:
        """Prediction (B, h, d) for `noisy` (B, h, d) at the `step`-th of the prepared times."""
        x = self.embed(noisy) + self.place
        for block, constant, modulated in zip(self.blocks, given.constant, given.modulation, strict=True):
            x = block(x, constant, given.at(modulated, step))
        shift, scale = given.at(given.final, step).unbind(1)
        return self.out(torch.addcmul(shift, self.norm(x), scale))
