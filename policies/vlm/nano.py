"""A vision-language encoder small enough to train on a laptop: a convolution sees, a few queries ask.

Pictures become a grid of tokens (convolution, 8 x 8 a view); words, proprioception and the query tokens attend to one
another and to the grid (a Q-Former, Li et al. 2023, BLIP-2, figure 2). Before the last layer the perceptual
queries point at places in every picture. Out come N perceptual tokens and one cognitive token.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.vlm.sight import Points, Seen, SightConfig

PAD, UNKNOWN = 0, 1
STRIDE = 8  # px, of the grid
NOISE = 6.0  # levels of 255, what differs less is no contrast
VOCABULARY = """
a after again all and are at away back before behind below between bin block blue both bottle box bring button buttons
by clean clear close color colour corner count counter cover cube cubes cup cups drawer drop each empty every find
finally first for from full gently get go grasp green grey hand hang has hidden hide hides higher hold holds in inside
into is it its lamp last left lid lift light lower middle more move near next not now object objects of off on once
one ones only open orange order other out over pick place plate press pressed pressing pull purple push pushing put
rack raise red release remember remove rest return right round second see shown slow slowly small some stack start
stop store table take tap tell that the them then there thing things third this three time to top touch tray turn
turns two uncover under until up upper use wait was what when where which while white with yellow you
"""
WORDS = tuple(VOCABULARY.split())


@dataclass(frozen=True)
class NanoConfig(SightConfig):
    """Sizes. An instruction is read word by word, `words` at most."""

    grounded: ClassVar[bool] = True

    channels: tuple[int, ...] = (32, 64, 128)

    def read(self, instruction: str) -> list[int]:
        """Word numbers."""
        return tokenize(instruction, self.words)


def tokenize(instruction: str, length: int) -> list[int]:
    """Word numbers, padded or cut to `length`; a word outside the vocabulary is UNKNOWN."""
    known = {word: number for number, word in enumerate(WORDS, start=2)}
    words = re.findall(r"[a-z]+", instruction.lower())[:length]
    return [known.get(word, UNKNOWN) for word in words] + [PAD] * (length - len(words))


def embed_cells(side: int, dim: int) -> Tensor:
    """Where each cell of a `side` x `side` grid lies, (side * side, dim): sines and cosines of both its coordinates
    (Vaswani et al. 2017 sec. 3.5, in two dimensions), from one period over the picture to one over two cells."""
    rate = 2 * math.pi * torch.linspace(0, math.log2(side / 2), dim // 4).exp2() / side
    angle = torch.arange(side).unsqueeze(-1) * rate  # (side, dim / 4)
    wave = torch.cat([angle.cos(), angle.sin()], dim=-1)
    rows, columns = wave.unsqueeze(1).expand(-1, side, -1), wave.expand(side, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1) * 0.3


def contrast(pictures: Tensor) -> Tensor:
    """Pictures (B, H, W, 3) uint8 to (B, 3, H, W): each colour by its mean and spread in the picture, so that an empty
    table is nothing and things on it stand out."""
    return functional.instance_norm(pictures.permute(0, 3, 1, 2).float(), eps=NOISE**2)


class Stem(nn.Module):
    """Pictures to a grid of features, stride 8."""

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        sizes = [3, *channels]
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 5 if a == 3 else 3, stride=2, padding=2 if a == 3 else 1) for a, b in pairwise(sizes)
        )
        self.mix = nn.Conv2d(sizes[-1], dim, 3, padding=1)
        for conv in (*self.down, self.mix):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, S / 8 * S / 8, dim)."""
        x = images.contiguous(memory_format=torch.channels_last)
        for conv in self.down:
            x = functional.gelu(conv(x), approximate="tanh")
        return self.mix(x).flatten(2).transpose(1, 2)


class QueryLayer(nn.Module):
    """The asking tokens attend to one another, then to the grid, then think."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_self, self.norm_grid, self.norm_feed = (nn.LayerNorm(dim) for _ in range(3))
        self.qkv, self.out_self = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.query, self.key_value, self.out_grid = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, 3 * dim), nn.GELU(approximate="tanh"), nn.Linear(3 * dim, dim))

    def forward(self, x: Tensor, grid: Tensor, mask: Tensor | None = None) -> Tensor:
        """`x` (B, Q, D) over `grid` (B, G, D); `mask` (B, 1, 1, Q) True where a token of `x` counts."""
        q, k, v = self._split(self.qkv(self.norm_self(x)), 3)
        x = x + self.out_self(functional.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))
        (q,) = self._split(self.query(self.norm_grid(x)), 1)
        k, v = self._split(self.key_value(grid), 2)
        x = x + self.out_grid(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.feed(self.norm_feed(x))

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        return tuple(part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in x.chunk(parts, dim=-1))


class Pointing(nn.Module):
    """Tokens point at cells of the grid, tell where in the cell, and take up what they point at.

    Which cell is a choice that can be taught outright: taught by its result alone, attention learns late where to look
    (Zhu et al. 2021, Deformable DETR, sec. 3).
    """

    def __init__(self, dim: int, views: int, side: int, proprio: int) -> None:
        super().__init__()
        self.views, self.side = views, side
        self.norm = nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.nowhere = nn.Linear(dim, views)
        self.within = nn.Sequential(nn.Linear(2 * dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, 2))
        told = dim + views * (dim + 3) + proprio
        self.feed = nn.Sequential(nn.Linear(told, 3 * dim), nn.GELU(approximate="tanh"), nn.Linear(3 * dim, dim))
        middle = (torch.arange(side) + 0.5) / side
        self.register_buffer("middles", torch.cartesian_prod(middle, middle).flip(-1), persistent=False)

    def forward(self, x: Tensor, grid: Tensor, proprio: Tensor) -> tuple[Tensor, Points]:
        """`x` (B, Q, D) with what it points at in `grid` (B, V * N, D) of an arm at `proprio` (B, P); and where."""
        y = self.norm(x).unsqueeze(1)  # (B, 1, Q, D)
        cells = grid.unflatten(1, (self.views, -1))
        meant = self.query(y) @ self.key(cells).transpose(-1, -2) / x.shape[-1] ** 0.5
        meant = torch.cat([meant, self.nowhere(y).transpose(1, 3)], dim=-1)  # (B, V, Q, N + 1)
        share = meant.softmax(dim=-1)
        here = 1 - share[..., -1:]
        among = share[..., :-1] / here.clamp(min=1e-4)
        got = among @ self.value(cells)
        asked = y.expand(-1, self.views, -1, -1)
        at = among @ self.middles + self.within(torch.cat([got, asked], dim=-1)) / self.side
        told = torch.cat([got, 2 * at - 1, here], dim=-1).transpose(1, 2).flatten(2)
        felt = proprio.unsqueeze(1).expand(-1, x.shape[1], -1)
        return x + self.feed(torch.cat([y.squeeze(1), told, felt], dim=-1)), Points(meant, at)


class NanoVLM(nn.Module):
    """Images, words and proprioception to perceptual tokens and one cognitive token."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.config = config
        dim, views = config.dim, len(config.cameras)
        self.stem = Stem(config.channels, dim)
        side = config.image_size // STRIDE
        self.place = nn.Parameter(embed_cells(side, dim) + torch.randn(views, 1, dim) * 0.2)
        self.norm_grid = nn.LayerNorm(dim)
        self.word = nn.Embedding(len(WORDS) + 2, dim)
        self.word_place = nn.Parameter(torch.randn(config.words, dim) * 0.2)
        self.body = nn.Linear(config.proprio, dim)
        self.asking = nn.Parameter(torch.randn(1 + config.tokens, dim) * 0.5)
        self.layers = nn.ModuleList(QueryLayer(dim, config.heads) for _ in range(config.layers))
        self.pointing = Pointing(dim, views, side, config.proprio)
        self.to_cognitive = nn.LayerNorm(dim)
        self.to_perceptual = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, config.perceptual_dim), nn.LayerNorm(config.perceptual_dim)
        )

    def forward(self, images: Tensor, words: Tensor, proprio: Tensor) -> tuple[Tensor, Tensor]:
        """Cognitive (B, 1, D) and perceptual (B, N, Dp) tokens.

        `images` (B, V, H, W, 3) uint8 in the order of `config.cameras`, `words` (B, S) numbers, `proprio` (B, P).
        """
        seen = self.grounded(images, words, proprio)
        return seen.cognitive, seen.perceptual

    def grounded(self, images: Tensor, words: Tensor, proprio: Tensor) -> Seen:
        """As `forward`, with what can be taught beside."""
        batch, views = images.shape[:2]
        grid = self.norm_grid(self.stem(contrast(images.flatten(0, 1)))).unflatten(0, (batch, views)) + self.place
        grid = grid.flatten(1, 2)  # (B, V * cells, D)
        asking = self.asking.expand(batch, -1, -1)
        x = torch.cat([asking, self.body(proprio).unsqueeze(1), self.word(words) + self.word_place], dim=1)
        counts = torch.cat([words.new_ones(batch, x.shape[1] - words.shape[1]), words], dim=1) != PAD
        seeing = slice(1, 1 + self.config.tokens)
        for number, layer in enumerate(self.layers, start=1):
            if number == len(self.layers):
                told, points = self.pointing(x[:, seeing], grid, proprio)
                x = torch.cat([x[:, :1], told, x[:, seeing.stop :]], dim=1)
            x = layer(x, grid, counts[:, None, None, :])
        return Seen(self.to_cognitive(x[:, :1]), self.to_perceptual(x[:, seeing]), x[:, seeing.stop + 1 :], points)
