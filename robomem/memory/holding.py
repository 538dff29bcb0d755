"""What of a stream is held: all of it, fewer features, or fewer tokens. What asks is as wide and as many."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Whole(nn.Module):
    """Every token as it is."""

    def hold(self, x: Tensor) -> Tensor:
        """(B, N, D) to what is held of it."""
        return x

    def tell(self, x: Tensor, asks: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
        """What the tokens that `asks` have `read`, as every token of `x` (B, N, D) is told it, (B, N, D); and both, as
        the gate sees them (B, N, 2 G)."""
        return read, torch.cat([x, read], dim=-1)


class Narrow(Whole):
    """Fewer features: `held` of `dim`."""

    def __init__(self, dim: int, held: int) -> None:
        super().__init__()
        self.narrow, self.widen = nn.Linear(dim, held), nn.Linear(held, dim)

    def hold(self, x: Tensor) -> Tensor:
        held: Tensor = self.narrow(x)
        return held

    def tell(self, x: Tensor, asks: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
        return self.widen(read), torch.cat([asks, read], dim=-1)


class Summary(Whole):
    """Fewer tokens: `held` of them take up what they look for (pooling by learned seeds, Lee et al. 2019, Set
    Transformer, sec. 3.2), and every token asks those that were read."""

    def __init__(self, dim: int, held: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_held = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.seeds, self.mix = nn.Linear(dim, held), nn.Linear(dim, dim)
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def hold(self, x: Tensor) -> Tensor:
        share = self.seeds(self.norm(x)).softmax(dim=1)  # (B, N, M)
        taken = share.transpose(1, 2) @ x
        held: Tensor = taken + self.mix(self.norm_held(taken))
        return held

    def tell(self, x: Tensor, asks: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(self.norm(x)), *self.key_value(read).chunk(2, dim=-1))
        )
        told = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return super().tell(x, asks, x + self.out(told))
