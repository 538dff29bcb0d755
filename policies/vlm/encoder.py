"""What every vision-language encoder is: pictures and an instruction in, tokens out."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class Encoded(NamedTuple):
    """Of B moments: `cognitive` (B, 1, Dc), the last hidden state at the last token of the prompt; `visual`
    (B, V, N, Dv), tokens of the vision tower before they are projected to the width of the language model."""

    cognitive: Tensor
    visual: Tensor


class Encoder(Protocol):
    """Anything that sees and reads."""

    cognitive_dim: int
    visual_dim: int

    def __call__(self, images: Tensor, instructions: Sequence[str]) -> Encoded:
        """Tokens of `images` (B, V, H, W, 3) uint8 and one instruction each."""


class Words(NamedTuple):
    """Token numbers (B, S), padded at the end, and where the last true one of each row is (B,)."""

    numbers: Tensor
    last: Tensor

    def to(self, device: torch.device) -> "Words":
        """The same on `device`."""
        return Words(self.numbers.to(device, non_blocking=True), self.last.to(device, non_blocking=True))


def pad_rows(rows: Sequence[Sequence[int]], multiple: int, padding: int = 0) -> Words:
    """Rows of token numbers side by side, as long as the longest rounded up to a `multiple`: so few lengths occur that
    a compiled network is compiled a few times only."""
    longest = max(map(len, rows))
    length = -(-longest // multiple) * multiple
    numbers = [[*row, *[padding] * (length - len(row))] for row in rows]
    return Words(torch.tensor(numbers), torch.tensor([len(row) - 1 for row in rows]))


def at_last(hidden: Tensor, last: Tensor) -> Tensor:
    """Of hidden states (B, S, D) those at `last` (B,): (B, 1, D)."""
    return hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[-1]))


def check_inputs(images: Tensor, instructions: Sequence[str], views: int | None = None) -> None:
    """Raises ValueError when pictures are no pictures, or not one instruction is given for those of each moment."""
    if images.ndim != 5 or images.shape[-1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"pictures are {images.dtype} {tuple(images.shape)}, expected uint8 (B, V, H, W, 3)")
    if views is not None and images.shape[1] != views:
        raise ValueError(f"{images.shape[1]} pictures a moment, expected {views}")
    if len(images) != len(instructions):
        raise ValueError(f"{len(instructions)} instructions for {len(images)} moments")


def without_signs(instruction: str, tokenizer: Any) -> str:
    """`instruction` itself. Raises ValueError when it holds a sign of the model's own, such as the place of a picture:
    what a person says is data."""
    for token in tokenizer.added_tokens_decoder.values():
        if token.special and token.content in instruction:
            raise ValueError(f"an instruction may not hold the model's own sign '{token.content}': '{instruction}'")
    return instruction
