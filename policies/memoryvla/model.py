"""MemoryVLA, small: encoder, memory bank, action expert, and the heads that supervise them from the simulator."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.action.dit import Condition, DiT, DiTConfig
from policies.action.incontext import InContextConfig, InContextDiT
from policies.action.sampler import Sampler, SamplerConfig
from policies.vlm.fitted import FittedConfig, FittedVLM
from policies.vlm.nano import NanoConfig, NanoVLM
from policies.vlm.sight import Points
from robomem.memory.bank import BankConfig, MemoryBank
from robomem.memory.compatible import CompatibleConfig, CompatibleMemory

GOAL_KINDS = 9  # kinds of sub-goals of the demonstrators
SUBGOAL = 3 * 3 + GOAL_KINDS  # width: its place, told three times, and its kind
CLOSE = 0.2  # 0.1 m, what counts as close to a sub-goal
FINE = 0.05  # 0.1 m, errors of places count by their size, smaller ones by their square
FINE_PX = 0.1  # of a cell of the grid, likewise
NEAR = 1.5  # 0.1 m, a sub-goal farther from all that is visible is no thing's place


@dataclass(frozen=True)
class MemoryVLAConfig:
    """The whole network. Actions are due every `action_dt` [s]; the policy is asked again every `period` [s].

    Raises ValueError when its parts do not fit together.
    """

    encoder: NanoConfig | FittedConfig = field(default_factory=NanoConfig)
    bank: BankConfig | CompatibleConfig = field(default_factory=BankConfig)
    expert: DiTConfig | InContextConfig = field(default_factory=DiTConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    action_dt: float = 0.1
    period: float = 0.4
    entities: int = 8  # things of a scene whose places supervise the encoder

    def __post_init__(self) -> None:
        encoder, bank, expert, horizon = self.encoder, self.bank, self.expert, self.expert.horizon
        if encoder.tokens < self.entities:
            raise ValueError(f"{encoder.tokens} perceptual tokens cannot tell of {self.entities} entities")
        if self.sampler.max_delay >= horizon:
            raise ValueError(
                f"max_delay is {self.sampler.max_delay}, expected less than the {horizon} actions of a chunk"
            )
        for name, size, expected in (
            ("bank.tokens", bank.tokens, encoder.tokens),
            ("bank.perceptual_dim", bank.perceptual_dim, encoder.perceptual_dim),
            ("bank.cognitive_dim", bank.cognitive_dim, encoder.dim),
            ("expert.perceptual_dim", expert.perceptual_dim, encoder.perceptual_dim),
            ("expert.cognitive_dim", expert.cognitive_dim, encoder.dim + SUBGOAL),
            ("expert.body_dim", expert.body_dim, encoder.proprio if expert.body_dim else 0),
        ):
            if size != expected:
                raise ValueError(f"{name} is {size}, the encoder makes it {expected}")


class SubGoal(NamedTuple):
    """What the demonstrator is after: `which` (B,) entity, E for none of them, `place` (B, 3) [0.1 m], `kind` (B,)."""

    which: Tensor
    place: Tensor
    kind: Tensor

    @classmethod
    def among(cls, places: Tensor, visible: Tensor, place: Tensor, kind: Tensor) -> "SubGoal":
        """The sub-goal at `place` is the nearest of the entities (B, E, 3) that is visible (B, E), or none is NEAR."""
        off = torch.where(visible > 0, (places - place.unsqueeze(1)).norm(dim=-1), torch.inf)
        nearest = off.min(dim=1)
        return cls(torch.where(nearest.values < NEAR, nearest.indices, places.shape[1]), place, kind)


class MemoryVLA(nn.Module):
    """Images, words and proprioception in; action chunks out; what was seen is in the MemoryState."""

    home: Tensor

    def __init__(self, config: MemoryVLAConfig) -> None:
        super().__init__()
        self.config = config
        encoder, bank, dim = config.encoder, config.bank, config.encoder.dim
        self.encoder = FittedVLM(encoder) if isinstance(encoder, FittedConfig) else NanoVLM(encoder)
        self.bank = CompatibleMemory(bank) if isinstance(bank, CompatibleConfig) else MemoryBank(bank)
        self.expert = DiT(config.expert) if isinstance(config.expert, DiTConfig) else InContextDiT(config.expert)
        self.entities_of_cognitive = nn.Linear(dim, config.entities * 4)
        self.entity_of_token = nn.Linear(config.encoder.perceptual_dim, 4)
        self.place_of_word = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 3))
        self.goal = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, config.entities + 1 + GOAL_KINDS)
        )
        self.register_buffer("home", torch.zeros(3))  # where the arm goes when it is after no thing, in units of 0.1 m
        self.sampler = Sampler(config.sampler)

    def places(self, perceptual: Tensor) -> Tensor:
        """Where the sub-goal may be, (B, E + 1, 3) [0.1 m]: entities as `perceptual` (B, N, Dp) sees them, and home."""
        seen: Tensor = self.entity_of_token(perceptual[:, : self.config.entities])[..., :3]
        return torch.cat([seen, self.home.expand(len(seen), 1, 3)], dim=1)

    def condition(self, cognitive: Tensor, perceptual: Tensor, body: Tensor, seen: Tensor, tool: Tensor) -> Condition:
        """What the expert is given: fused tokens (B, 1, D) and (B, N, Dp), the body (B, P), and the sub-goal.

        Memory chooses what the arm is after, and sight, `seen` (B, N, Dp) before it was fused, tells where that is (a
        pointer, Vinyals et al. 2015): a sub-goal half-way between two things cannot be. The simulator taught both; what
        is learned from actions leaves them alone. The place is told three times: on the table, from the `tool` (B, 3)
        [0.1 m], and from the tool up close, so that the last centimetres are no small difference of large numbers.
        """
        which, kind = self.goal(cognitive).split([self.config.entities + 1, GOAL_KINDS], dim=-1)
        chosen = which[:, 0].argmax(dim=-1)
        place = self.places(seen)[torch.arange(len(chosen), device=chosen.device), chosen]
        off = place - tool
        told = torch.cat([place, off, (off / CLOSE).tanh(), kind[:, 0].softmax(dim=-1)], dim=-1)
        subgoal = told.detach().unsqueeze(1)
        return Condition(torch.cat([cognitive, subgoal.to(cognitive.dtype)], dim=-1), perceptual, body)

    def entity_loss(self, cognitive: Tensor, perceptual: Tensor, places: Tensor, visible: Tensor) -> Tensor:
        """How badly each token stream alone tells what is visible, and where, `places` (B, E, 3) in units of 0.1 m.

        The cognitive token tells of all entities, each perceptual token of one.
        """
        total = places.new_zeros(())
        all_of_it = self.entities_of_cognitive(cognitive.flatten(1)).unflatten(-1, (self.config.entities, 4))
        one_each = self.entity_of_token(perceptual[:, : self.config.entities])
        for told in (all_of_it.float(), one_each.float()):
            off = functional.smooth_l1_loss(told[..., :3], places, reduction="none", beta=FINE).mean(dim=-1)
            seen = functional.binary_cross_entropy_with_logits(told[..., 3], visible)
            total = total + (off * visible).sum() / visible.sum().clamp(min=1) + 0.2 * seen
        return total

    def point_loss(self, points: Points, pixels: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """How badly perceptual tokens point at their entities, at `pixels` (B, V, E, 2): the cell, and where in it."""
        side = math.isqrt(points.cells.shape[-1])
        cells, at = (told[:, :, : self.config.entities].float() for told in points)
        inside = ((pixels >= 0) & (pixels < 1)).all(dim=-1)
        column, row = (pixels.clamp(0, 1 - 1e-6) * side).long().unbind(-1)
        true = torch.where(inside, row * side + column, side**2)
        seen = visible.unsqueeze(1).expand_as(true)
        wrong = functional.cross_entropy(cells.flatten(0, 2), true.flatten(), reduction="none").view_as(seen)
        off = functional.smooth_l1_loss(at * side, pixels * side, reduction="none", beta=FINE_PX).mean(dim=-1)
        return tuple((loss * of).sum() / of.sum().clamp(min=1) for loss, of in ((wrong, seen), (off, seen * inside)))

    def word_loss(self, words: Tensor, places: Tensor, known: Tensor) -> Tensor:
        """How badly words (B, S, D) tell where what they name is, `places` (B, S, 3) [0.1 m] where `known` (B, S)."""
        off = functional.smooth_l1_loss(self.place_of_word(words).float(), places, reduction="none", beta=0.2).mean(-1)
        return (off * known).sum() / known.sum().clamp(min=1)

    def goal_loss(self, fused: Tensor, seen: Tensor, true: SubGoal) -> tuple[Tensor, dict[str, Tensor]]:
        """How badly the fused cognitive token (B, 1, D) tells the sub-goal; `seen` as in `condition`."""
        which, kind = self.goal(fused.flatten(1)).float().split([self.config.entities + 1, GOAL_KINDS], dim=-1)
        loss = 0.3 * functional.cross_entropy(which, true.which) + 0.2 * functional.cross_entropy(kind, true.kind)
        with torch.no_grad():
            chosen = which.argmax(dim=-1)
            place = self.places(seen).float()[torch.arange(len(chosen), device=chosen.device), chosen]
            metrics = {
                "goal_mm": (place - true.place).norm(dim=-1).mean() * 100,
                "goal_which": (chosen == true.which).float().mean(),
                "goal_kind": (kind.argmax(-1) == true.kind).float().mean(),
            }
        return loss, metrics
