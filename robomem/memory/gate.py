"""How much of what was retrieved enters the present (MemoryVLA eq. 7 and 8)."""

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """A gate for every feature, half open at the start."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(2 * dim, dim)
        nn.init.normal_(self.weigh.weight, std=1e-3)
        nn.init.zeros_(self.weigh.bias)

    def forward(self, present: Tensor, retrieved: Tensor) -> Tensor:
        """Fused tokens, same shape as both: g * retrieved + (1 - g) * present."""
        gate: Tensor = self.weigh(torch.cat([present, retrieved], dim=-1)).sigmoid()
        return gate * retrieved + (1 - gate) * present
