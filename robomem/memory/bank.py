"""The perceptual-cognitive memory bank: read, then write."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from robomem.memory.consolidation import write
from robomem.memory.entries import Entries
from robomem.memory.gate import Gate
from robomem.memory.retrieval import Retrieval
from robomem.memory.state import MemoryState


@dataclass(frozen=True)
class BankConfig:
    """Sizes of the bank. `written`: "fused" stores what the policy made of a moment, "raw" what it saw."""

    slots: int = 16
    tokens: int = 8
    perceptual_dim: int = 64
    cognitive_dim: int = 128
    heads: int = 4
    layers: int = 1
    written: Literal["fused", "raw"] = "fused"
    enabled: bool = True  # False: nothing is ever held, the twin without memory


class MemoryBank(nn.Module):
    """Weights of the memory; what is remembered is in the MemoryState."""

    def __init__(self, config: BankConfig) -> None:
        super().__init__()
        self.config = config
        self.read_cognitive = Retrieval(config.cognitive_dim, config.heads, config.layers)
        self.read_perceptual = Retrieval(config.perceptual_dim, config.heads, config.layers)
        self.gate_cognitive, self.gate_perceptual = Gate(config.cognitive_dim), Gate(config.perceptual_dim)

    def empty(self, sessions: int = 1, seed: int = 0) -> MemoryState:
        """A state of this bank's shape that holds nothing."""
        c, device = self.config, self.gate_cognitive.weigh.weight.device
        sizes = ((1, c.cognitive_dim), (c.tokens, c.perceptual_dim))
        return MemoryState((Entries.empty(sessions, c.slots, sizes, device),), seed)

    def forward(
        self, state: MemoryState, cognitive: Tensor, perceptual: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """One step at `t` (B,) [s]: fused cognitive (B, 1, Dc) and perceptual (B, N, Dp) tokens, and the state after.

        Reads before it writes: the present never retrieves itself.
        """
        (held,) = state.banks
        from_cognitive, from_perceptual, looked = self._read(held, cognitive, perceptual, t)
        fused_c = self.gate_cognitive(cognitive, from_cognitive)
        fused_p = self.gate_perceptual(perceptual, from_perceptual)
        held = held.looked_at(looked.detach())
        if self.config.enabled:
            held = write(held, (fused_c, fused_p) if self.config.written == "fused" else (cognitive, perceptual), t)
        return fused_c, fused_p, replace(state, banks=(held,), step=state.step + 1)

    def _read(self, held: Entries, cognitive: Tensor, perceptual: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is retrieved for both, and attention over the first n entries (B, n)."""
        n, (held_c, held_p), empty = held.readable()
        if n == 0:
            return cognitive, perceptual, held.count[:, :0]
        middle = held.facts[:, :n, :2].mean(dim=-1)
        from_cognitive, looked_c = self.read_cognitive(cognitive, held_c, t, middle, empty)
        from_perceptual, looked_p = self.read_perceptual(perceptual, held_p, t, middle, empty)
        return from_cognitive, from_perceptual, (looked_c + looked_p) / 2

    def roll(
        self, cognitive: Tensor, perceptual: Tensor, t: Tensor, lengths: list[int], grad_window: int
    ) -> tuple[Tensor, Tensor]:
        """Fused tokens of every step of whole episodes in time order, each from an empty memory.

        `cognitive` (B, T, 1, Dc), `perceptual` (B, T, N, Dp) and `t` (B, T) [s] hold episodes of `lengths` steps,
        longest first. Returns the steps that exist, (sum of lengths, ...), step by step: all first steps, all second
        steps of episodes that have one, and so on. Gradients stop at every `grad_window`-th step: truncated
        backpropagation through time.
        """
        if lengths != sorted(lengths, reverse=True):
            raise ValueError(f"episodes must come longest first, got lengths {lengths}")
        state = self.empty(len(lengths))
        steps = []
        for k in range(lengths[0]):
            live = sum(length > k for length in lengths)
            state = state.first(live)
            if k % grad_window == 0:
                state = state.detach()
            fused_c, fused_p, state = self(state, cognitive[:live, k], perceptual[:live, k], t[:live, k])
            steps.append((fused_c, fused_p))
        fused_cognitive, fused_perceptual = zip(*steps, strict=True)
        return torch.cat(fused_cognitive), torch.cat(fused_perceptual)
