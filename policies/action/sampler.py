"""Denoising with diffusers' schedulers: how a chunk is trained and how it is sampled, with guidance."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, get_args

import torch
from torch import Tensor
from torch.nn import functional

from policies.action.dit import Condition
from policies.action.realtime import Predict, Prefix, Pull, first
from policies.action.schedule import Diffusion, Flow, Predicts, Schedule, Spacing


@dataclass(frozen=True)
class SamplerConfig:
    """Diffusion as the paper trains it, 100 steps on the squared cosine schedule, sampled by DDIM in 10; or, when the
    expert `predicts` "flow", flow matching. Raises ValueError for what cannot be."""

    train_steps: int = 100
    steps: int = 10
    guidance: float = 1.5  # classifier-free, Ho and Salimans 2022 eq. 6; 1 is none
    guided: int = 4  # steps that are guided, the noisiest: guided to the end, the arm overshot by half the way
    drop: float = 0.1  # share of training samples whose cognitive token is dropped
    predicts: Predicts = "sample"
    spacing: Spacing = "leading"  # of diffusion's steps; "trailing" begins at pure noise, as a few steps must
    max_delay: int = 0  # actions of the running chunk that training gives clean, at most; 0: none

    def __post_init__(self) -> None:
        for name, kind in (("predicts", Predicts), ("spacing", Spacing)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} is '{getattr(self, name)}', expected one of: {', '.join(get_args(kind))}")
        ranges = {"steps": (1, self.train_steps), "guided": (0, self.steps), "drop": (0, 1), "max_delay": (0, math.inf)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {low} to {high}")
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise ValueError(f"guidance is {self.guidance}, expected a finite number of 0 or more; 1 is none")

    def schedule(self) -> Schedule:
        """Times and levels of noise."""
        if self.predicts == "flow":
            return Flow(self.train_steps, self.steps)
        return Diffusion(self.train_steps, self.steps, self.predicts, self.spacing)


class ChunkShape(Protocol):
    """Of a chunk: `horizon` actions of `action_dim` numbers."""

    horizon: int
    action_dim: int


class Denoiser(Protocol):
    """An action expert: predicts what the sampler is configured for, given what `prepare` made of the condition.

    Where actions are `given` (B, h) clean, the last of the times to prepare is theirs.
    """

    config: ChunkShape
    nothing: Tensor  # (Dc,) stands for the cognitive token in the unguided branch

    def prepare(self, condition: Condition, times: Tensor, given: Tensor | None = None) -> Any: ...
    def prepare_guided(self, condition: Condition, times: Tensor, given: Tensor | None = None) -> tuple[Any, Any]: ...
    def __call__(self, noisy: Tensor, given: Any, step: int = 0) -> Tensor: ...


class Sampler:
    """Trains and samples an action expert. Holds no weights."""

    def __init__(self, config: SamplerConfig) -> None:
        self.config = config
        self.schedule = config.schedule()
        self.steps = self.schedule.steps()
        self._times: dict[torch.device, Tensor] = {}

    def _times_on(self, device: torch.device) -> Tensor:
        """The times of all steps (S,), brought to `device` once: a CUDA graph cannot fetch them."""
        if device not in self._times:
            self._times[device] = self.schedule.timesteps.to(device)
        return self._times[device]

    def loss(
        self, dit: Denoiser, actions: Tensor, condition: Condition, weight: Tensor, noise: torch.Generator
    ) -> Tensor:
        """Mean squared error of the prediction for clean `actions` (B, h, d), each by `weight` (B, h, d), 0: padded.

        With `max_delay`, some of the first actions are given clean, as many in each chunk as chance has it, and only
        the others count (arXiv 2512.05964).
        """
        batch = len(actions)
        device = actions.device
        eps = torch.randn(actions.shape, generator=noise).to(device)
        times = self.schedule.draw(batch, noise).to(device)
        dropped = (torch.rand(batch, 1, 1, generator=noise) < self.config.drop).to(device)
        noisy = self.schedule.mixed(actions, eps, times)
        known = condition._replace(cognitive=torch.where(dropped, dit.nothing, condition.cognitive))
        given, all_times = None, times.unsqueeze(1)
        if self.config.max_delay:
            delay = torch.randint(self.config.max_delay + 1, (batch,), generator=noise).to(device)
            prefix = Prefix(actions, first(delay, actions.shape[1]))
            noisy, given, weight = prefix.into(noisy), prefix.given, weight * ~prefix.given.unsqueeze(-1)
            all_times = self._with_clean(all_times)
        predicted = dit(noisy, dit.prepare(known, all_times, given))
        error = functional.mse_loss(predicted.float(), self.schedule.wanted(actions, eps, times), reduction="none")
        return (error * weight).sum() / weight.sum().clamp(min=1.0)

    def sample(
        self,
        dit: Denoiser,
        condition: Condition,
        noise: torch.Generator,
        prefix: Prefix | None = None,
        pull: Pull | None = None,
    ) -> Tensor:
        """Chunks (B, h, d) for `condition`, from noise that is drawn."""
        shape = len(condition.cognitive), dit.config.horizon, dit.config.action_dim
        x = torch.randn(shape, generator=noise).to(condition.cognitive.device)
        return self.denoise(dit, condition, x, prefix, pull)

    @torch.no_grad()
    def denoise(
        self, dit: Denoiser, condition: Condition, x: Tensor, prefix: Prefix | None = None, pull: Pull | None = None
    ) -> Tensor:
        """Chunks (B, h, d) for `condition`, from noise `x` of that shape; they begin with `prefix`, and keep to what
        `pull` says.

        The first `guided` steps choose among what is possible, both guidance branches in one batch; the rest, unguided,
        settle on it (guidance in a limited interval, Kynkaanniemi et al. 2024).
        """
        times = self._times_on(x.device).expand(len(x), -1)
        if prefix is None:
            predict = self._predict(dit, condition, times, None)
        else:
            predict = self._predict(dit, condition, self._with_clean(times), prefix.given)
        for number, step in enumerate(self.steps):
            x = x if prefix is None else prefix.into(x)
            predicted = predict(x, number) if pull is None else pull.guided(predict, x, number, step)
            x = torch.add(step.keep * x, predicted, alpha=step.take)
        for kept in (pull and pull.promised, prefix):
            x = x if kept is None else kept.into(x)
        return x

    def _predict(self, dit: Denoiser, condition: Condition, times: Tensor, given: Tensor | None) -> Predict:
        """What the expert predicts, with guidance, for a noisy chunk at a step."""
        guided = self.config.guided if self.config.guidance != 1.0 else 0
        if guided:
            both, known = dit.prepare_guided(condition, times, given)
        else:
            known = dit.prepare(condition, times, given)

        def predict(x: Tensor, number: int) -> Tensor:
            if number >= guided:
                return dit(x, known, number)
            with_it, without = dit(torch.cat([x, x]), both, number).chunk(2)
            return torch.lerp(without, with_it, self.config.guidance)

        return predict

    def _with_clean(self, times: Tensor) -> Tensor:
        """`times` (B, S), and after them that of actions which are given clean."""
        return torch.cat([times, torch.full_like(times[:, :1], self.schedule.clean)], dim=1)
