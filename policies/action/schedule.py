"""How noise is mixed into a chunk and taken out again: diffusion and flow matching, both with diffusers' schedulers."""

from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

Predicts = Literal["epsilon", "sample", "v_prediction", "flow"]
Spacing = Literal["leading", "trailing"]
FAINT = 0.01  # share of signal; with less, errors of an expert that predicts noise grow beyond use, by 1 / it
TIME_POWER = 1.5  # of Beta(1.5, 1), from which flow times are drawn
TIME_LEAST = 0.001  # share of noise, less is not trained


class Step(NamedTuple):
    """One step of sampling, x the noisy chunk: the next x is `keep` * x + `take` * predicted, and what it would be
    without noise `of_noisy` * x + `of_predicted` * predicted. x is `signal` * chunk + `noise` * a unit normal."""

    keep: float
    take: float
    of_noisy: float
    of_predicted: float
    signal: float
    noise: float


class Schedule(Protocol):
    """Times of training and sampling; `timesteps` (S,) are those of sampling, `clean` that of a chunk without noise."""

    timesteps: Tensor
    clean: float

    def draw(self, batch: int, noise: torch.Generator) -> Tensor:
        """Times (B,) to train at."""

    def mixed(self, actions: Tensor, eps: Tensor, times: Tensor) -> Tensor:
        """`actions` (B, h, d) with as much of `eps` (B, h, d) as there is at `times` (B,)."""

    def wanted(self, actions: Tensor, eps: Tensor, times: Tensor) -> Tensor:
        """What the expert is to predict."""

    def steps(self) -> tuple[Step, ...]:
        """Those of sampling."""


class Diffusion:
    """As the paper trains it, on the squared cosine schedule; sampled by DDIM."""

    clean = -1.0  # a step before the first

    def __init__(self, train_steps: int, steps: int, predicts: Predicts, spacing: Spacing) -> None:
        self.predicts = predicts
        self.scheduler = DDIMScheduler(
            num_train_timesteps=train_steps,
            beta_schedule="squaredcos_cap_v2",
            prediction_type=predicts,
            clip_sample=False,
            set_alpha_to_one=True,
            timestep_spacing=spacing,
        )
        self.scheduler.set_timesteps(steps)
        self.timesteps: Tensor = self.scheduler.timesteps
        signal, noise = self._level(int(self.timesteps[0]))
        if signal > noise:
            raise ValueError(
                f"steps is {steps}: with leading spacing they begin at {self.timesteps[0]} of {train_steps}, where a "
                "chunk is not yet noise; take spacing=trailing"
            )
        if predicts == "epsilon" and signal < FAINT:
            raise ValueError(
                f"spacing is {spacing}: from pure noise an expert that predicts epsilon cannot begin; take leading, or "
                "predicts=sample, v_prediction or flow"
            )

    def draw(self, batch: int, noise: torch.Generator) -> Tensor:
        return torch.randint(0, self.scheduler.config.num_train_timesteps, (batch,), generator=noise)

    def mixed(self, actions: Tensor, eps: Tensor, times: Tensor) -> Tensor:
        return self.scheduler.add_noise(actions, eps, times)

    def wanted(self, actions: Tensor, eps: Tensor, times: Tensor) -> Tensor:
        if self.predicts == "v_prediction":
            return self.scheduler.get_velocity(actions, eps, times)
        return eps if self.predicts == "epsilon" else actions

    def steps(self) -> tuple[Step, ...]:
        return tuple(self._step(t) for t in self.timesteps)

    def _step(self, t: Tensor) -> Step:
        signal, noise = self._level(int(t))
        clean = {
            "epsilon": (1 / signal, -noise / signal),
            "sample": (0.0, 1.0),
            "v_prediction": (signal, -noise),  # Salimans and Ho 2022, appendix D
        }
        return Step(*_update(self.scheduler, t), *clean[self.predicts], signal, noise)

    def _level(self, t: int) -> tuple[float, float]:
        share = float(self.scheduler.alphas_cumprod[t])
        return share**0.5, (1 - share) ** 0.5


class Flow:
    """Flow matching on straight ways from noise to chunk (Lipman et al. 2023; Liu et al. 2023), by Euler's method.

    Times count from 0, the chunk, to `train_steps`, noise, as diffusers does; the velocity points to the noise.
    """

    clean = 0.0

    def __init__(self, train_steps: int, steps: int) -> None:
        self.train_steps = train_steps
        self.scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=train_steps)
        self.scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps).tolist())  # of equal length, as in pi0
        self.timesteps: Tensor = self.scheduler.timesteps

    def draw(self, batch: int, noise: torch.Generator) -> Tensor:
        """Noisy times more often: what a robot sees all but fixes the chunk, so that little is left to learn close to
        it, and the way out of the noise is the hard part (pi0, Black et al. 2024, appendix B)."""
        share = torch.rand(batch, generator=noise) ** (1 / TIME_POWER)  # Beta(a, 1) by its inverse
        return (TIME_LEAST + (1 - TIME_LEAST) * share) * self.train_steps

    def mixed(self, actions: Tensor, eps: Tensor, times: Tensor) -> Tensor:
        return torch.lerp(actions, eps, (times / self.train_steps).view(-1, 1, 1))

    def wanted(self, actions: Tensor, eps: Tensor, times: Tensor) -> Tensor:
        return eps - actions

    def steps(self) -> tuple[Step, ...]:
        shares = (self.timesteps.double() / self.train_steps).tolist()
        updates = [_update(self.scheduler, t) for t in self.timesteps]  # in turn: it counts its own steps
        return tuple(
            Step(*update, 1.0, -share, 1 - share, share) for update, share in zip(updates, shares, strict=True)
        )


def _update(scheduler: DDIMScheduler | FlowMatchEulerDiscreteScheduler, t: Tensor) -> tuple[float, float]:
    """How much of the noisy chunk and of the prediction the step at `t` takes: without fresh noise it is linear in both
    (DDIM, Song et al. 2021, eq. 12), so the scheduler is asked once, not at every step of every chunk."""
    one_zero = torch.tensor([1.0, 0.0], dtype=torch.float64)
    keep, take = scheduler.step(1 - one_zero, t, one_zero).prev_sample.tolist()
    return keep, take
