"""Beginnings of prompts, held with what the language model has read of them, so that it need not read them again."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

ALIKE = 1e-2  # of the largest number; rounding in bfloat16 is less
SLICED = {"full_attention", "sliding_attention", "chunked_attention"}  # layers that hold keys and values by token


class Prefix(NamedTuple):
    """By layer, keys and values (1, H, S, D / H) of S tokens; `visual` (1, V, N, Dv), what the tower made of pictures
    among them, or (0)."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    visual: Tensor


class Prefixes:
    """The `most` prefixes that were used last, by all that they follow from: weights, tokens, pictures."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held: dict[Hashable, Prefix] = {}

    def get(self, key: Hashable) -> Prefix | None:
        """What is held for `key`."""
        prefix = self.held.pop(key, None)
        if prefix is not None:
            self.held[key] = prefix  # the youngest now
        return prefix

    def put(self, key: Hashable, prefix: Prefix) -> None:
        """Hold `prefix`, and let go what was not used for longest."""
        self.held[key] = prefix
        while len(self.held) > self.most:
            self.held.pop(next(iter(self.held)), None)


def state_of(model: nn.Module) -> Hashable:
    """Another value once any weight of `model` was changed, moved or cast."""
    return tuple((weight.data_ptr(), weight._version) for weight in model.parameters())


def as_cache(prefixes: Sequence[Prefix]) -> Any:
    """The prefixes, equally long, as one batch; transformers' own cache, which the model may append to."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for number, layers in enumerate(zip(*(prefix.layers for prefix in prefixes), strict=True)):
        keys, values = (torch.cat(parts) for parts in zip(*layers, strict=True))
        cache.update(keys, values, number)
    return cache


def of_cache(cache: Any, visual: Tensor) -> list[Prefix]:
    """Each row of `cache` as a prefix of its own."""
    rows = []
    for row in range(len(cache.layers[0].keys)):
        mine = slice(row, row + 1)
        layers = tuple((layer.keys[mine].clone(), layer.values[mine].clone()) for layer in cache.layers)
        rows.append(Prefix(layers, visual[mine].clone()))
    return rows


@torch.no_grad()
def why_not_held(model: Any, numbers: Sequence[int]) -> str:
    """Why `model` cannot go on from a prefix; "" when it can. Tried on the tokens `numbers`, first and last unlike."""
    layers = set(getattr(model.get_decoder().config, "layer_types", None) or ()) - SLICED
    if layers:
        return f"its layers hold more than keys and values: {', '.join(sorted(layers))}"
    rows = torch.tensor([numbers, [*numbers[:-1], numbers[0]]], device=next(model.parameters()).device)
    told = model(input_ids=rows, attention_mask=torch.ones_like(rows), use_cache=False).last_hidden_state[:, :-1]
    if (told[0] - told[1]).abs().max() > ALIKE * told.abs().max():
        return "its tokens look ahead, so that what was read depends on what follows"
    return ""
