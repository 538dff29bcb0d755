"""Upstream's action expert: a diffusion transformer whose condition is a token of its sequence (in-context
conditioning, Peebles and Xie 2023, sec. 3.2), with cross-attention to perceptual tokens in every block. The names of
weights are upstream's.

What does not change while a chunk is denoised is computed once, by `prepare`: keys and values of the perceptual tokens,
which both guidance branches share, and the condition tokens of every step.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.action.dit import Condition
from robomem.memory.timestep import TimestepEncoder

EPS = 1e-6  # of norms
TIME_WIDTH = 256  # of the sinusoidal embedding of diffusion times


@dataclass(frozen=True)
class InContextConfig:
    """Sizes; `horizon` actions of `action_dim` numbers. `body_dim` 0: the body is not told, as upstream."""

    horizon: int = 16
    action_dim: int = 7
    layers: int = 6
    dim: int = 384
    heads: int = 4
    cognitive_dim: int = 4096
    perceptual_dim: int = 256
    body_dim: int = 0


@dataclass(frozen=True)
class InContextConditioning:
    """All that stays the same while a chunk is denoised: by layer, keys and values (B, H, N, D / H) of the perceptual
    tokens; the condition tokens (R * B, S, 1, D) of S denoising steps in R guidance branches. `clean` (R * B, h, D) is
    added to the chunk's tokens, where actions are given clean their time, else 0; None: none is."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    tokens: Tensor
    clean: Tensor | None = None


class SelfAttention(nn.Module):
    """Every token attends to all."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, S, D) to the same shape."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        told: Tensor = self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return told


class PerceptionAttention(nn.MultiheadAttention):
    """Cross-attention to the perceptual tokens; torch's weights, with what is constant computed apart."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads, batch_first=True)

    def constant(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, N, D / H) of `tokens` (B, N, D)."""
        dim = self.embed_dim
        told = functional.linear(tokens, self.in_proj_weight[dim:], self.in_proj_bias[dim:])
        keys, values = told.unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        return keys, values

    def stick(self) -> None:
        """Zero what makes queries and keys: neither gets a gradient ever again (upstream's start)."""
        nn.init.zeros_(self.in_proj_weight[: 2 * self.embed_dim])
        nn.init.zeros_(self.in_proj_bias[: 2 * self.embed_dim])

    def read(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What `x` (R * B, S, D) reads; all R branches of a chunk read the same tokens."""
        dim, (batch, heads) = self.embed_dim, keys.shape[:2]
        q = functional.linear(x, self.in_proj_weight[:dim], self.in_proj_bias[:dim])
        q = q.view(-1, batch, x.shape[1], heads, dim // heads).permute(1, 3, 0, 2, 4)  # (B, H, R, S, D / H)
        read = functional.scaled_dot_product_attention(q.flatten(2, 3), keys, values)
        told: Tensor = self.out_proj(read.view_as(q).permute(2, 0, 3, 1, 4).reshape(x.shape))
        return told


class InContextBlock(nn.Module):
    """Self-attention, cross-attention to the perceptual tokens, feed-forward; normed before each."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(dim, elementwise_affine=False, eps=EPS) for _ in range(2))
        self.norm3 = nn.LayerNorm(dim, eps=EPS)
        self.attn, self.per_attn = SelfAttention(dim, heads), PerceptionAttention(dim, heads)
        self.mlp = Feed(dim)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """`x` (R * B, S, D)."""
        x = x + self.attn(self.norm1(x))
        x = x + self.per_attn.read(self.norm3(x), keys, values)
        told: Tensor = x + self.mlp(self.norm2(x))
        return told


class Feed(nn.Module):
    """Each token thinks for itself."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same shape."""
        told: Tensor = self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))
        return told


class Embedder(nn.Module):
    """Brings what comes in to the width of the transformer."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., `width`) to (..., D)."""
        told: Tensor = self.linear(x)
        return told


class ConditionEmbedder(Embedder):
    """Of the cognitive token; `uncondition` stands for it in the unguided branch."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__(width, dim)
        self.uncondition = nn.Parameter(torch.randn(1, width) * 0.02)


class FinalLayer(Embedder):
    """Normed, then brought to the width of an action."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., `action_dim`)."""
        return super().forward(functional.layer_norm(x, x.shape[-1:], eps=EPS))


class InContextDiT(nn.Module):
    """Predicts the noise (or the clean chunk, as the sampler is configured) of a noisy chunk."""

    def __init__(self, config: InContextConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.x_embedder, self.per_token_embedder = (
            Embedder(n, dim) for n in (config.action_dim, config.perceptual_dim)
        )
        self.z_embedder = ConditionEmbedder(config.cognitive_dim, dim)
        self.t_embedder = TimestepEncoder(TIME_WIDTH, dim)
        self.body_embedder = Embedder(config.body_dim, dim) if config.body_dim else None
        self.positional_embedding = nn.Parameter(torch.randn(config.horizon + 1, dim) * dim**-0.5)
        self.blocks = nn.ModuleList(InContextBlock(dim, config.heads) for _ in range(config.layers))
        self.final_layer = FinalLayer(dim, config.action_dim)
        nn.init.zeros_(self.final_layer.linear.weight)
        nn.init.zeros_(self.final_layer.linear.bias)

    def stick(self) -> None:
        """Start as upstream's expert does, whose perceptual attention never learns where to look (for ablations)."""
        for block in self.blocks:
            block.per_attn.stick()

    @property
    def nothing(self) -> Tensor:
        """The cognitive token (Dc,) of the unguided branch."""
        return self.z_embedder.uncondition[0]

    def prepare(self, condition: Condition, times: Tensor, given: Tensor | None = None) -> InContextConditioning:
        """What the denoising of `times` (B, S) needs of `condition`.

        Where actions are `given` (B, h) clean, the last of the times is theirs: it is told in their own tokens, as the
        condition token tells that of the rest.
        """
        perceptual = self.per_token_embedder(condition.perceptual)
        keys, values = zip(*(block.per_attn.constant(perceptual) for block in self.blocks), strict=True)
        clean = None if given is None else given.unsqueeze(-1) * self.t_embedder(times[:, -1:])
        return InContextConditioning(keys, values, self._tokens(condition, times), clean)

    def prepare_guided(
        self, condition: Condition, times: Tensor, given: Tensor | None = None
    ) -> tuple[InContextConditioning, InContextConditioning]:
        """The same for both guidance branches, with the cognitive token and without; and for the first alone."""
        known = self.prepare(condition, times, given)
        free = self._tokens(condition._replace(cognitive=self.nothing.expand_as(condition.cognitive)), times)
        clean = None if known.clean is None else torch.cat([known.clean, known.clean])
        return replace(known, tokens=torch.cat([known.tokens, free]), clean=clean), known

    def forward(self, noisy: Tensor, given: InContextConditioning, step: int = 0) -> Tensor:
        """Prediction (R * B, h, d) for `noisy` of that shape at the `step`-th of the prepared times."""
        actions = self.x_embedder(noisy)
        if given.clean is not None:
            actions = actions + given.clean
        x = torch.cat([given.tokens[:, step], actions], dim=1) + self.positional_embedding
        for block, keys, values in zip(self.blocks, given.keys, given.values, strict=True):
            x = block(x, keys, values)
        told: Tensor = self.final_layer(x[:, 1:])
        return told

    def _tokens(self, condition: Condition, times: Tensor) -> Tensor:
        told: Tensor = self.z_embedder(condition.cognitive) + self.t_embedder(times)
        if self.body_embedder is not None:
            told = told + self.body_embedder(condition.body).unsqueeze(1)
        return told.unsqueeze(2)
