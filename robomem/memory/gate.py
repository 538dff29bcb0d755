"""How much of what was retrieved enters the present (MemoryVLA eq. 7 and 8)."""

from torch import Tensor, nn


class Gate(nn.Module):
    """A gate for every feature of `dim`, half open at the start; it sees `seen` features of the present, and as many of
    what was retrieved."""

    def __init__(self, dim: int, seen: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(2 * seen, dim)
        nn.init.normal_(self.weigh.weight, std=1e-3)
        nn.init.zeros_(self.weigh.bias)

    def forward(self, present: Tensor, retrieved: Tensor, both: Tensor) -> Tensor:
        """Fused tokens (B, N, D), g * retrieved + (1 - g) * present; the gate sees `both` (B, N, 2 G)."""
        gate: Tensor = self.weigh(both).sigmoid()
        return gate * retrieved + (1 - gate) * present
