"""Fewer channels for visual tokens, weighed by all of the picture (squeeze and excitation, Hu et al. 2018)."""

from torch import Tensor, nn
from torch.nn import functional

SQUEEZE = 16  # times fewer channels in the gate


class BottleneckSE(nn.Module):
    """MemoryVLA's perceptual compression (sec. 3.2): channels to `mid`, gated, then to `dim`. Tokens stay as many."""

    def __init__(self, channels: int, mid: int = 512, dim: int = 256) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, mid, 1, bias=False)
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(mid, mid // SQUEEZE, 1),
            nn.ReLU(),
            nn.Conv2d(mid // SQUEEZE, mid, 1),
            nn.Sigmoid(),
        )
        self.expand = nn.Conv2d(mid, dim, 1, bias=False)

    def forward(self, visual: Tensor) -> Tensor:
        """(B, N, `channels`) to (B, N, `dim`). How the N lie in the picture does not matter: each is weighed alike."""
        grid = functional.relu(self.reduce(visual.transpose(1, 2).unsqueeze(3)))
        told: Tensor = self.expand(grid * self.excite(grid))
        return told.squeeze(3).transpose(1, 2)
