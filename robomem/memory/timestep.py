"""Times as features: sines and cosines, then a small network (Ho et al. 2020; Vaswani et al. 2017 sec. 3.5)."""

import math

import torch
from torch import Tensor, nn

LONGEST_PERIOD = 10_000  # over 2 pi, in the unit of the times


def embed_time(t: Tensor, dim: int) -> Tensor:
    """Cosines, then sines, of times (...), (..., dim)."""
    rate = torch.exp(-math.log(LONGEST_PERIOD) * torch.arange(dim // 2, device=t.device) / (dim // 2))
    angle = t.unsqueeze(-1).float() * rate
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class TimestepEncoder(nn.Module):
    """Of times, in the manner of upstream, which has one in each memory bank and one in the action expert."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.width = width
        self.mlp = nn.Sequential(nn.Linear(width, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """(..., D) for times (...)."""
        dtype = next(self.mlp.parameters()).dtype
        told: Tensor = self.mlp(embed_time(t, self.width).to(dtype))
        return told
