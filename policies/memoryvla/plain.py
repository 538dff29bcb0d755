"""Upstream's arithmetic, written plainly: nothing kept, nothing computed ahead, one session after the other.

What `parity` and the benches compare with. Weights are a dict under upstream's names.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.nn import functional

from robomem.memory.state import within

Weights = Mapping[str, Tensor]


class Entry(NamedTuple):
    """A held moment: its step and its tokens (N, D)."""

    t: int
    tokens: Tensor


class Expert(NamedTuple):
    """The weights of an action expert, and what they do not tell of its shape. `lean`: perceptual attention by torch's
    fused kernel; else as torch's MultiheadAttention computes it, which upstream calls and which takes twice as long."""

    weights: Weights
    layers: int
    heads: int
    lean: bool = False


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    """The layer `name`."""
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(weights: Weights, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    """The layer norm `name`; one without weights when there are none."""
    return functional.layer_norm(x, x.shape[-1:], weights.get(f"{name}.weight"), weights.get(f"{name}.bias"), eps)


def sinusoid(t: Tensor, dim: int) -> Tensor:
    """Cosines and sines of `t` (...), (..., dim)."""
    rate = torch.exp(-math.log(10_000) * torch.arange(dim // 2, device=t.device) / (dim // 2))
    angle = t.unsqueeze(-1).float() * rate
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def embed(weights: Weights, name: str, t: Tensor) -> Tensor:
    """The time embedding `name` of `t` (...), (..., D)."""
    first = weights[f"{name}.mlp.0.weight"]
    told = functional.silu(linear(weights, f"{name}.mlp.0", sinusoid(t, first.shape[1]).to(first.dtype)))
    return linear(weights, f"{name}.mlp.2", told)


def compress(weights: Weights, visual: Tensor) -> Tensor:
    """Perceptual compression of one picture's tokens (N, C), (N, D)."""
    side = math.isqrt(len(visual))
    grid = functional.relu(functional.conv2d(visual.T.view(1, -1, side, side), weights["reduce.weight"]))
    gate = grid.mean(dim=(2, 3), keepdim=True)
    gate = functional.relu(functional.conv2d(gate, weights["excite.1.weight"], weights["excite.1.bias"]))
    gate = functional.conv2d(gate, weights["excite.3.weight"], weights["excite.3.bias"]).sigmoid()
    return functional.conv2d(grid * gate, weights["expand.weight"])[0].flatten(1).T


def remember(weights: Weights, held: list[Entry], x: Tensor) -> Tensor:
    """Fused tokens for `x` (N, D): read `held`, then the gate."""
    if not held:
        return x
    codes = embed(weights, "timestep_encoder", torch.tensor([entry.t for entry in held], device=x.device))
    values = torch.stack([entry.tokens for entry in held])
    keys, values = (values + codes.unsqueeze(1)).flatten(0, 1), values.flatten(0, 1)
    read = x
    for block in (0, 1):
        of = within(weights, f"retrieval_blocks.{block}.")
        scores = linear(of, "q_proj", read) @ linear(of, "k_proj", keys).T / read.shape[-1] ** 0.5
        read = norm(of, "attn_norm", read + scores.softmax(dim=-1) @ linear(of, "v_proj", values))
        fed = linear(of, "ffn.2", functional.gelu(linear(of, "ffn.0", read)))
        read = norm(of, "ffn_norm", read + fed)
    gate = linear(weights, "gate_fusion_blocks.proj", torch.cat([x, read], dim=-1)).sigmoid()
    return gate * x + (1 - gate) * read


def keep(held: list[Entry], entry: Entry, length: int) -> list[Entry]:
    """`held` with one more `entry`; when that is too many, the most alike neighbours become one."""
    held = [*held, entry]
    while len(held) > length:
        alike = [functional.cosine_similarity(a.tokens, b.tokens, dim=-1).mean().item() for a, b in pairwise(held)]
        k = alike.index(max(alike))
        held[k : k + 2] = [Entry(held[k].t, 0.5 * (held[k].tokens + held[k + 1].tokens))]
    return held


def predict(net: Expert, x: Tensor, t: Tensor, cognitive: Tensor, perceptual: Tensor) -> Tensor:
    """The action expert: noise (B, h, d) in `x` of that shape at `t` (B,), for tokens (B, 1, Dc) and (B, N, Dp)."""
    weights, layers, heads, _ = net
    known = embed(weights, "t_embedder", t).unsqueeze(1) + linear(weights, "z_embedder.linear", cognitive)
    perceptual = linear(weights, "per_token_embedder.linear", perceptual)
    x = torch.cat([known, linear(weights, "x_embedder.linear", x)], dim=1) + weights["positional_embedding"]
    for block in range(layers):
        of = within(weights, f"blocks.{block}.")
        q, k, v = linear(of, "attn.qkv", norm(of, "norm1", x, 1e-6)).chunk(3, dim=-1)
        x = x + linear(of, "attn.proj", attend(q, k, v, heads))
        x = x + perceive(net, within(of, "per_attn."), norm(of, "norm3", x, 1e-6), perceptual)
        fed = functional.gelu(linear(of, "mlp.fc1", norm(of, "norm2", x, 1e-6)), approximate="tanh")
        x = x + linear(of, "mlp.fc2", fed)
    return linear(weights, "final_layer.linear", norm(weights, "norm_final", x, 1e-6))[:, 1:]


def perceive(net: Expert, weights: Weights, x: Tensor, perceptual: Tensor) -> Tensor:
    """Cross-attention of `x` (B, S, D) to `perceptual` (B, N, D)."""
    project, bias = weights["in_proj_weight"], weights["in_proj_bias"]
    if net.lean:
        sources = zip((x, perceptual, perceptual), project.chunk(3), bias.chunk(3), strict=True)
        return linear(weights, "out_proj", attend(*(functional.linear(*source) for source in sources), net.heads))
    x, perceptual = x.transpose(0, 1), perceptual.transpose(0, 1)
    out = weights["out_proj.weight"], weights["out_proj.bias"]
    told, _ = functional.multi_head_attention_forward(
        x, perceptual, perceptual, x.shape[-1], net.heads, project, bias, None, None, False, 0.0, *out, training=False
    )
    return told.transpose(0, 1)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attention of (B, S, D) over (B, T, D) in `heads`."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def denoise(net: Expert, x: Tensor, cognitive: Tensor, perceptual: Tensor, steps: int, guidance: float) -> Tensor:
    """A chunk (1, h, d) from noise `x` of that shape, by DDIM in `steps`, guided in all of them."""
    scheduler = DDIMScheduler(100, beta_schedule="squaredcos_cap_v2", clip_sample=False)
    scheduler.set_timesteps(steps)
    both = torch.cat([cognitive, net.weights["z_embedder.uncondition"].unsqueeze(0)])
    for t in scheduler.timesteps:
        twice = torch.cat([x, x]), t.to(x.device).expand(2), both, perceptual.repeat(2, 1, 1)
        known, free = predict(net, *twice).chunk(2)
        x = scheduler.step(free + guidance * (known - free), t, x).prev_sample
    return x
