"""What `robomem bench` times: compatible mode against the plain formulation, and native memory."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from policies.action.dit import Condition
from policies.action.incontext import InContextConfig, InContextDiT
from policies.action.sampler import Sampler, SamplerConfig
from policies.memoryvla.plain import Entry, Expert, denoise, keep, remember
from robomem.memory.bank import BankConfig, MemoryBank
from robomem.memory.compatible import CompatibleConfig, CompatibleMemory
from robomem.memory.state import MemoryState
from robomem.report.roofline import Work

STEPS, GUIDANCE = 10, 1.5
COGNITIVE, PERCEPTUAL = 4096, (256, 256)  # width of the token; tokens and their width

FLOAT = 4  # bytes
Ways = dict[str, Callable[[], Tensor]]


class Contest(NamedTuple):
    """Ways to compute the same, "plain" and "ours" among them, and the weights that ours must at least read."""

    ways: Ways
    works: list[Work]
    close: float = 1e-4  # of the largest number, what both may differ by


def guided_sample(layers: int, dim: int, heads: int, seed: int) -> Contest:
    """A chunk denoised in ten guided steps."""
    torch.manual_seed(seed)
    dit = drawn(InContextDiT(InContextConfig(layers=layers, dim=dim, heads=heads)))
    net = Expert(dit.state_dict(), layers, heads)
    sampler = Sampler(SamplerConfig(steps=STEPS, guidance=GUIDANCE, guided=STEPS, predicts="epsilon"))
    cognitive, perceptual = torch.randn(1, 1, COGNITIVE), torch.randn(1, *PERCEPTUAL)
    noise = torch.randn(1, dit.config.horizon, dit.config.action_dim)
    condition = Condition(cognitive, perceptual, noise.new_zeros(1, 0))

    def plainly(net: Expert) -> Callable[[], Tensor]:
        return torch.inference_mode()(lambda: denoise(net, noise, cognitive, perceptual, STEPS, GUIDANCE))

    ours = torch.inference_mode()(lambda: sampler.denoise(dit, condition, noise))
    of_blocks = sum(weight.numel() for weight in dit.blocks.parameters())
    works = [Work(of_blocks, 2 * (dit.config.horizon + 1), STEPS, FLOAT)]
    return Contest({"plain": plainly(net), "lean": plainly(net._replace(lean=True)), "ours": ours}, works)


class MemoryContest:
    """One step of a full memory at a time, by its kind and length: "plain_L16" computes what "compatible_L16" does,
    "native_L16" remembers the same tokens in our own way."""

    def __init__(
        self,
        slots: Sequence[int],
        cognitive_dim: int,
        tokens: int,
        perceptual_dim: int,
        held_dim: int,
        held_tokens: int,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        sizes = {"tokens": tokens, "perceptual_dim": perceptual_dim, "cognitive_dim": cognitive_dim}
        self.compatible = drawn(CompatibleMemory(CompatibleConfig(**sizes)))
        config = BankConfig(**sizes, held_dim=held_dim, held_tokens=held_tokens)
        self.native = MemoryBank(config).eval().requires_grad_(False)
        self.ways = {name: way for length in slots for name, way in self._ways(length).items()}

    @property
    def parameters(self) -> dict[str, int]:
        """Of both kinds."""
        kinds = {"compatible": self.compatible, "native": self.native}
        return {kind: sum(weight.numel() for weight in bank.parameters()) for kind, bank in kinds.items()}

    @property
    def works(self) -> dict[str, list[Work]]:
        """What a step with the shorter memory must read, by kind."""
        c = self.native.config
        both = self.compatible.cognitive_bank, self.compatible.perceptual_bank
        of_bank = [sum(weight.numel() for weight in bank.parameters()) for bank in both]
        compatible = [Work(size, n, bytes_each=FLOAT) for size, n in zip(of_bank, (1, c.tokens), strict=True)]
        shortest = min(int(name.removeprefix("native_L")) for name in self.ways if name.startswith("native"))
        native = [Work(self.parameters["native"], 1, bytes_each=FLOAT)]
        return {f"compatible_L{shortest}": compatible, f"native_L{shortest}": native}

    @torch.inference_mode()
    def _ways(self, length: int) -> Ways:
        """Of memories that hold `length` entries."""
        seen = [self.moment() for _ in range(length + 1)]
        now, present = torch.tensor([float(length)]), seen[-1]
        banks = self.compatible.cognitive_bank, self.compatible.perceptual_bank
        held = [bank.empty(slots=length) for bank in banks]
        native = self.native.empty(slots=length)
        for step, moment in enumerate(seen[:-1]):
            t = torch.tensor([float(step)])
            held = [bank.keep(kept, x, t) for bank, kept, x in zip(banks, held, moment, strict=True)]
            *_, native = self.native(native, *moment, t)
        compatible = MemoryState(tuple(held), step=length)
        weights = [bank.state_dict() for bank in banks]
        entries = [[Entry(step, x[0]) for step, x in enumerate(stream)] for stream in zip(*seen, strict=True)]

        def plain() -> Tensor:
            fused = []
            for of_bank, stream in zip(weights, entries, strict=True):
                fused.append(remember(of_bank, stream[:-1], stream[-1].tokens).flatten())
                keep(stream[:-1], stream[-1], length)
            return torch.cat(fused)

        def ours(memory: MemoryBank | CompatibleMemory, state: MemoryState) -> Tensor:
            cognitive, perceptual, _ = memory(state, *present, now)
            return torch.cat([cognitive.flatten(), perceptual.flatten()])

        return {
            f"plain_L{length}": torch.inference_mode()(plain),
            f"compatible_L{length}": torch.inference_mode()(lambda: ours(self.compatible, compatible)),
            f"native_L{length}": torch.inference_mode()(lambda: ours(self.native, native)),
        }

    def moment(self, sessions: int = 1) -> tuple[Tensor, Tensor]:
        """Tokens (B, 1, Dc) and (B, N, Dp) that were drawn."""
        c = self.native.config
        return torch.randn(sessions, 1, c.cognitive_dim), torch.randn(sessions, c.tokens, c.perceptual_dim)

    @torch.inference_mode()
    def grow(self, steps: int) -> Iterator[tuple[int, float, int]]:
        """A native memory of ever longer episodes: at every step its number, the time it took [s] and the bytes that
        are held after it."""
        state, moments = self.native.empty(), [self.moment() for _ in range(64)]
        for step in range(steps):
            begun = time.monotonic()
            *_, state = self.native(state, *moments[step % len(moments)], torch.tensor([0.4 * step]))
            yield step, time.monotonic() - begun, sum(tensor.nbytes for tensor in state.tensors().values())

    @torch.inference_mode()
    def batched(self, sessions: int, steps: int) -> tuple[float, float, float]:
        """Many sessions in one step and each on its own, with the same native memory: the largest difference of what is
        fused, as a share of the largest number; steps a second of all sessions together, and one by one."""
        together, alone = self.native.empty(sessions), [self.native.empty() for _ in range(sessions)]
        off, taken = 0.0, [0.0, 0.0]
        for step in range(steps):
            moment, t = self.moment(sessions), torch.rand(sessions) + step
            begun = time.monotonic()
            *fused, together = self.native(together, *moment, t)
            middle = time.monotonic()
            singles = []
            for k, state in enumerate(alone):
                *single, alone[k] = self.native(state, *(stream[k : k + 1] for stream in moment), t[k : k + 1])
                singles.append(single)
            taken[0] += middle - begun
            taken[1] += time.monotonic() - middle
            for stream, parts in zip(fused, zip(*singles, strict=True), strict=True):
                off = max(off, float((stream - torch.cat(parts)).abs().max() / stream.abs().max()))
        return off, sessions * steps / taken[0], sessions * steps / taken[1]


def drawn[Module: nn.Module](module: Module) -> Module:
    """`module` with weights that let every layer show in the output, none of them trained."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=(weight.shape[-1] if weight.dim() > 1 else 16) ** -0.5)
    return module.eval().requires_grad_(False)
