"""The perceptual-cognitive memory bank: read, then write."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import batched, chain
from typing import Literal

import torch
from torch import Tensor, nn

from robomem.memory.consolidation import write
from robomem.memory.entries import Entries
from robomem.memory.state import MemoryState
from robomem.memory.stream import Stream


@dataclass(frozen=True)
class BankConfig:
    """Sizes of the bank. `written`: "fused" stores what the policy made of a moment, "raw" what it saw.

    Of the perceptual tokens a summary of `held_tokens` is held, of the cognitive token `held_dim` features; 0: all.
    The last four are for ablations: each is a mend of what upstream does.
    """

    slots: int = 16
    tokens: int = 8
    perceptual_dim: int = 64
    cognitive_dim: int = 128
    heads: int = 4
    layers: int = 1
    written: Literal["fused", "raw"] = "fused"
    enabled: bool = True  # False: nothing is ever held, the twin without memory
    held_tokens: int = 0
    held_dim: int = 0
    clock: Literal["seconds", "steps"] = "seconds"  # steps: entries are dated by how many came before
    ages: bool = True  # False: entries have a time, what asks has none
    by_count: bool = True  # False: merges are even, however many moments each half stands for
    together: bool = True  # False: each stream merges on its own


class MemoryBank(nn.Module):
    """Weights of the memory; what is remembered is in the MemoryState."""

    def __init__(self, config: BankConfig) -> None:
        super().__init__()
        self.config = c = config
        reading = c.heads, c.layers, c.ages
        self.cognitive = Stream(1, c.cognitive_dim, *reading, held_dim=c.held_dim)
        self.perceptual = Stream(c.tokens, c.perceptual_dim, *reading, held_tokens=c.held_tokens)
        both = self.cognitive, self.perceptual
        self.merging = (both,) if c.together else tuple((stream,) for stream in both)

    def empty(self, sessions: int = 1, seed: int = 0, slots: int | None = None) -> MemoryState:
        """A state of this bank's shape that holds nothing, by default in as many slots as configured: how many there
        are, no weight depends on."""
        device = self.cognitive.gate.weigh.weight.device
        banks = []
        for streams in self.merging:
            sizes = tuple(stream.held for stream in streams)
            derived = tuple((n, 2 * dim) for n, dim in sizes for _ in range(self.config.layers))
            banks.append(Entries.empty(sessions, slots or self.config.slots, sizes, derived, device=device))
        return MemoryState(tuple(banks), seed)

    def forward(
        self, state: MemoryState, cognitive: Tensor, perceptual: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """One step at `t` (B,) [s]: fused cognitive (B, 1, Dc) and perceptual (B, N, Dp) tokens, and the state after.

        Reads before it writes: the present never retrieves itself.
        """
        if self.config.clock == "steps":
            t = torch.full_like(t, state.step)
        tokens = {self.cognitive: cognitive, self.perceptual: perceptual}
        banks = []
        for held, streams in zip(state.banks, self.merging, strict=True):
            present = [tokens[stream] for stream in streams]
            fused, held = self._read(held, streams, present, t)
            if self.config.enabled:
                held = self._write(held, streams, fused if self.config.written == "fused" else present, t)
            tokens |= zip(streams, fused, strict=True)
            banks.append(held)
        return tokens[self.cognitive], tokens[self.perceptual], replace(state, banks=tuple(banks), step=state.step + 1)

    def _read(
        self, held: Entries, streams: Sequence[Stream], present: Sequence[Tensor], t: Tensor
    ) -> tuple[Sequence[Tensor], Entries]:
        """Fused tokens of `streams`, and `held` with the share that each entry had of this read."""
        n, rows, empty = held.readable()
        if n == 0:
            return present, held
        middle = held.facts[:, :n, :2].mean(dim=-1)
        told = batched(rows[len(streams) :], self.config.layers)
        read = [stream(x, of_it, t, middle, empty) for stream, x, of_it in zip(streams, present, told, strict=True)]
        fused, shares = zip(*read, strict=True)
        return fused, held.looked_at(torch.stack(shares).mean(dim=0).detach())

    def _write(self, held: Entries, streams: Sequence[Stream], tokens: Sequence[Tensor], t: Tensor) -> Entries:
        kept, derived = zip(*(stream.keep(x) for stream, x in zip(streams, tokens, strict=True)), strict=True)
        return write(held, [*kept, *chain(*derived)], t, by_count=self.config.by_count)
