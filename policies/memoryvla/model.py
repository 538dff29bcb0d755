"""MemoryVLA, small: encoder, memory bank, action expert, and the heads that supervise them from the simulator."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.action.dit import Condition, DiT, DiTConfig
from policies.action.sampler import Sampler, SamplerConfig
from policies.vlm.nano import NanoConfig, NanoVLM
from robomem.memory.bank import BankConfig, MemoryBank

GOAL_KINDS = 9  # kinds of sub-goals of the demonstrators


@dataclass(frozen=True)
class MemoryVLAConfig:
    """The whole network. Actions are due every `action_dt` [s]; the policy is asked again every `period` [s]."""

    encoder: NanoConfig = field(default_factory=NanoConfig)
    bank: BankConfig = field(default_factory=BankConfig)
    expert: DiTConfig = field(default_factory=DiTConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    action_dt: float = 0.1
    period: float = 0.4
    entities: int = 8  # things of a scene whose places supervise the encoder


class MemoryVLA(nn.Module):
    """Images, words and proprioception in; action chunks out; what was seen is in the MemoryState."""

    def __init__(self, config: MemoryVLAConfig) -> None:
        super().__init__()
        self.config = config
        if config.encoder.tokens < config.entities:
            raise ValueError(f"{config.encoder.tokens} perceptual tokens cannot tell of {config.entities} entities")
        dim = config.encoder.dim
        self.encoder = NanoVLM(config.encoder)
        self.bank = MemoryBank(config.bank)
        self.expert = DiT(config.expert)
        self.entities_of_cognitive = nn.Linear(dim, config.entities * 4)
        self.entity_of_token = nn.Linear(config.encoder.perceptual_dim, 4)
        self.place_of_word = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 3))
        self.goal = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, 3 + GOAL_KINDS))
        self.sampler = Sampler(config.sampler)

    def condition(self, cognitive: Tensor, perceptual: Tensor, body: Tensor) -> Condition:
        """What the expert is given: fused tokens (B, 1, D) and (B, N, Dp), the body (B, P), and the sub-goal.

        The sub-goal is what the simulator taught the cognitive token to tell; the expert is handed it plainly, so that
        it learns to move there instead of learning once more to find it. What is learned from actions leaves it alone.
        """
        told = self.goal(cognitive).detach()
        subgoal = torch.cat([told[..., :3], told[..., 3:].softmax(dim=-1)], dim=-1)
        return Condition(torch.cat([cognitive, subgoal.to(cognitive.dtype)], dim=-1), perceptual, body)

    def entity_loss(self, cognitive: Tensor, perceptual: Tensor, places: Tensor, visible: Tensor) -> Tensor:
        """How badly each token stream alone tells what is visible, and where, `places` (B, E, 3) in units of 0.1 m.

        The cognitive token tells of all entities, each perceptual token of one.
        """
        total = places.new_zeros(())
        all_of_it = self.entities_of_cognitive(cognitive.flatten(1)).unflatten(-1, (self.config.entities, 4))
        one_each = self.entity_of_token(perceptual[:, : self.config.entities])
        for told in (all_of_it.float(), one_each.float()):
            off = functional.smooth_l1_loss(told[..., :3], places, reduction="none", beta=0.2).mean(dim=-1)
            seen = functional.binary_cross_entropy_with_logits(told[..., 3], visible)
            total = total + (off * visible).sum() / visible.sum().clamp(min=1) + 0.2 * seen
        return total

    def word_loss(self, words: Tensor, places: Tensor, known: Tensor) -> Tensor:
        """How badly words (B, S, D) tell where what they name is, `places` (B, S, 3) [0.1 m] where `known` (B, S)."""
        off = functional.smooth_l1_loss(self.place_of_word(words).float(), places, reduction="none", beta=0.2).mean(-1)
        return (off * known).sum() / known.sum().clamp(min=1)

    def goal_loss(self, fused: Tensor, goal: Tensor, kind: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """How badly the fused cognitive token (B, 1, D) tells the demonstrator's sub-goal, `goal` (B, 3) [0.1 m]."""
        told = self.goal(fused.flatten(1)).float()
        place = functional.smooth_l1_loss(told[:, :3], goal, beta=0.2)
        which = functional.cross_entropy(told[:, 3:], kind)
        with torch.no_grad():
            metrics = {
                "goal_mm": (told[:, :3] - goal).norm(dim=-1).mean() * 100,
                "goal_kind": (told[:, 3:].argmax(-1) == kind).float().mean(),
            }
        return place + 0.2 * which, metrics
