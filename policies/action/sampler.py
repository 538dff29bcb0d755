"""Denoising with diffusers' schedulers: how a chunk is trained and how it is sampled, with guidance."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.nn import functional

from policies.action.dit import Condition


@dataclass(frozen=True)
class SamplerConfig:
    """Diffusion as the paper trains it, 100 steps on the squared cosine schedule, sampled by DDIM in 10."""

    train_steps: int = 100
    steps: int = 10
    guidance: float = 1.5  # classifier-free, Ho and Salimans 2022 eq. 6; 1 is none
    guided: int = 4  # steps that are guided, the noisiest: guided to the end, the arm overshot by half the way
    drop: float = 0.1  # share of training samples whose cognitive token is dropped
    predicts: Literal["epsilon", "sample", "v_prediction"] = "sample"


class ChunkShape(Protocol):
    """Of a chunk: `horizon` actions of `action_dim` numbers."""

    horizon: int
    action_dim: int


class Denoiser(Protocol):
    """An action expert: predicts what the sampler is configured for, given what `prepare` made of the condition."""

    config: ChunkShape
    nothing: Tensor  # (Dc,) stands for the cognitive token in the unguided branch

    def prepare(self, condition: Condition, times: Tensor) -> Any: ...
    def prepare_guided(self, condition: Condition, times: Tensor) -> tuple[Any, Any]: ...
    def __call__(self, noisy: Tensor, given: Any, step: int = 0) -> Tensor: ...


class Sampler:
    """Trains and samples an action expert. Holds no weights."""

    def __init__(self, config: SamplerConfig) -> None:
        self.config = config
        self.scheduler = DDIMScheduler(
            num_train_timesteps=config.train_steps,
            beta_schedule="squaredcos_cap_v2",
            prediction_type=config.predicts,
            clip_sample=False,
            set_alpha_to_one=True,
        )
        self.scheduler.set_timesteps(config.steps)
        self.updates = tuple(self._update(t) for t in self.scheduler.timesteps)
        self._times: dict[torch.device, Tensor] = {}

    def _update(self, t: Tensor) -> tuple[float, float]:
        """How much of the noisy chunk and of the prediction the step at `t` takes: without fresh noise it is linear in
        both (DDIM, Song et al. 2021, eq. 12), so the scheduler is asked once, not at every step of every chunk."""
        none, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        keep, take = (self.scheduler.step(of_it, t, of_x).prev_sample for of_it, of_x in ((none, one), (one, none)))
        return keep.item(), take.item()

    def _times_on(self, device: torch.device) -> Tensor:
        """The times of all steps (S,), brought to `device` once: a CUDA graph cannot fetch them."""
        if device not in self._times:
            self._times[device] = self.scheduler.timesteps.to(device)
        return self._times[device]

    def loss(
        self, dit: Denoiser, actions: Tensor, condition: Condition, weight: Tensor, noise: torch.Generator
    ) -> Tensor:
        """Mean squared error of the prediction for clean `actions` (B, h, d), each by `weight` (B, h, d), 0: padded."""
        batch = len(actions)
        device = actions.device
        eps = torch.randn(actions.shape, generator=noise).to(device)
        times = torch.randint(0, self.config.train_steps, (batch,), generator=noise).to(device)
        dropped = (torch.rand(batch, 1, 1, generator=noise) < self.config.drop).to(device)
        noisy = self.scheduler.add_noise(actions, eps, times)
        known = condition._replace(cognitive=torch.where(dropped, dit.nothing, condition.cognitive))
        given = dit.prepare(known, times.unsqueeze(1))
        wanted = {
            "epsilon": lambda: eps,
            "sample": lambda: actions,
            "v_prediction": lambda: self.scheduler.get_velocity(actions, eps, times),
        }[self.config.predicts]()
        error = functional.mse_loss(dit(noisy, given).float(), wanted, reduction="none")
        return (error * weight).sum() / weight.sum().clamp(min=1.0)

    def sample(self, dit: Denoiser, condition: Condition, noise: torch.Generator) -> Tensor:
        """Chunks (B, h, d) for `condition`, from noise that is drawn."""
        shape = len(condition.cognitive), dit.config.horizon, dit.config.action_dim
        return self.denoise(dit, condition, torch.randn(shape, generator=noise).to(condition.cognitive.device))

    @torch.no_grad()
    def denoise(self, dit: Denoiser, condition: Condition, x: Tensor) -> Tensor:
        """Chunks (B, h, d) for `condition`, from noise `x` of that shape.

        The first `guided` steps choose among what is possible, both guidance branches in one batch; the rest, unguided,
        settle on it (guidance in a limited interval, Kynkaanniemi et al. 2024).
        """
        times = self._times_on(x.device).expand(len(x), -1)
        guided = self.config.guided if self.config.guidance != 1.0 else 0
        if guided:
            both, known = dit.prepare_guided(condition, times)
        else:
            known = dit.prepare(condition, times)
        for step, (keep, take) in enumerate(self.updates):
            if step < guided:
                with_it, without = dit(torch.cat([x, x]), both, step).chunk(2)
                predicted = torch.lerp(without, with_it, self.config.guidance)
            else:
                predicted = dit(x, known, step)
            x = torch.add(keep * x, predicted, alpha=take)
        return x
