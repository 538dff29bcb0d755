"""What a policy sees with, small and trained here or published and fitted to it: one way in, one way out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class SightConfig(ABC):
    """Sizes of what goes in and comes out: pictures of `cameras`, square [px], `proprio` numbers of the body, an
    instruction as `words` numbers; a cognitive token of `dim` and `tokens` perceptual ones."""

    grounded: ClassVar[bool] = False  # what words name, and where tokens point, can be taught outright

    cameras: tuple[str, ...] = ("front", "wrist")
    image_size: int = 64
    proprio: int = 11
    dim: int = 128
    heads: int = 4
    layers: int = 3
    tokens: int = 8
    perceptual_dim: int = 64
    words: int = 20

    @abstractmethod
    def read(self, instruction: str) -> list[int]:
        """The numbers that the encoder takes for `instruction`, `words` of them."""


class Points(NamedTuple):
    """Where Q tokens point in V pictures: `cells` (B, V, Q, N + 1), how much each cell of the grid is meant and, last,
    that it is in none of them (logits); `at` (B, V, Q, 2), the place, 0..1 from the upper left corner."""

    cells: Tensor
    at: Tensor


class Seen(NamedTuple):
    """What the encoder makes of a moment: cognitive (B, 1, D) and perceptual (B, N, Dp) tokens; and where it is
    grounded, what has become of the words (B, S, D), and where each perceptual token points."""

    cognitive: Tensor
    perceptual: Tensor
    words: Tensor | None = None
    points: Points | None = None
