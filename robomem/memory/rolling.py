"""A memory rolled through whole episodes, as training does."""

from typing import Protocol

import torch
from torch import Tensor

from robomem.memory.state import MemoryState


class Bank(Protocol):
    """A memory's weights: what is remembered is in the MemoryState."""

    def empty(self, sessions: int = 1, seed: int = 0, slots: int | None = None) -> MemoryState:
        """A state that holds nothing."""

    def __call__(
        self, state: MemoryState, cognitive: Tensor, perceptual: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """One step at `t` (B,) [s]: fused cognitive (B, 1, Dc) and perceptual (B, N, Dp) tokens, and the state after.

        Reads before it writes: the present never retrieves itself.
        """


def roll(
    bank: Bank, cognitive: Tensor, perceptual: Tensor, t: Tensor, lengths: list[int], grad_window: int
) -> tuple[Tensor, Tensor]:
    """Fused tokens of every step of whole episodes in time order, each from an empty memory.

    `cognitive` (B, T, 1, Dc), `perceptual` (B, T, N, Dp) and `t` (B, T) [s] hold episodes of `lengths` steps, longest
    first. Returns the steps that exist, (sum of lengths, ...), step by step: all first steps, all second steps of
    episodes that have one, and so on. Gradients stop at every `grad_window`-th step: truncated backpropagation through
    time.
    """
    if lengths != sorted(lengths, reverse=True):
        raise ValueError(f"episodes must come longest first, got lengths {lengths}")
    state, live = bank.empty(len(lengths)), len(lengths)
    steps = []
    for k in range(lengths[0]):
        while lengths[live - 1] <= k:
            live -= 1
        if live < len(state.length):
            state = state.first(live)
        if k % grad_window == 0:
            state = state.detach()
        fused_c, fused_p, state = bank(state, cognitive[:live, k], perceptual[:live, k], t[:live, k])
        steps.append((fused_c, fused_p))
    fused_cognitive, fused_perceptual = zip(*steps, strict=True)
    return torch.cat(fused_cognitive), torch.cat(fused_perceptual)
