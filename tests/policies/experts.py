"""Both action experts, small, with weights that let every path show in the output."""

from collections.abc import Mapping
from typing import Any

import torch

from policies.action.dit import Condition, DiT, DiTConfig
from policies.action.incontext import InContextConfig, InContextDiT

KINDS = ("dit", "incontext")
WIDTHS: Mapping[str, int] = {"cognitive_dim": 8, "perceptual_dim": 6, "body_dim": 5}


def expert(kind: str = "dit", seed: int = 0, std: float = 0.2, **sizes: Any) -> DiT | InContextDiT:
    """Weights as torch draws them where `std` is 0."""
    torch.manual_seed(seed)
    sizes = {"horizon": 4, "action_dim": 3, "dim": 32, "heads": 2, "layers": 2, **WIDTHS, **sizes}
    dit = DiT(DiTConfig(**sizes)) if kind == "dit" else InContextDiT(InContextConfig(**sizes))
    for weight in dit.parameters() if std else ():  # past the zero initialisation
        torch.nn.init.normal_(weight, std=std)
    return dit.eval()


def conditions(batch: int, seed: int = 1, tokens: int = 5) -> Condition:
    """What chunks are made for, drawn."""
    random = torch.Generator().manual_seed(seed)
    return Condition(*(torch.randn(batch, *size, generator=random) for size in ((1, 8), (tokens, 6), (5,))))
