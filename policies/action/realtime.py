"""Real-time chunking: a new chunk joins the one that runs while it is made, without a jump.

Two ways. `Prefix`: what is promised is given to an expert that was trained to go on from it (Black et al. 2025,
Training-Time Action Conditioning for Efficient Real-Time Chunking, arXiv 2512.05964). `Pull`: any expert is guided
there while it denoises (Black et al. 2025, Real-Time Execution of Action Chunking Flow Policies, arXiv 2506.07339).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from policies.action.schedule import Step

Predict = Callable[[Tensor, int], Tensor]  # noisy chunk and number of the step to the prediction


class Prefix(NamedTuple):
    """`actions` (B, h, d) that are given clean where `given` (B, h)."""

    actions: Tensor
    given: Tensor

    def into(self, noisy: Tensor) -> Tensor:
        """`noisy` (B, h, d) with what is given in its place."""
        return torch.where(self.given.unsqueeze(-1), self.actions, noisy)


@dataclass(frozen=True)
class Pull:
    """Guidance towards the actions of `promised`, each by `weight` (B, h, 1); its strength is `most` at most.

    Guidance brings the promised actions near, not home. What is given of them is put in when all is denoised: it will
    be executed in any case, and so the arm finds no jump where the new chunk takes over.
    """

    promised: Prefix
    weight: Tensor
    most: float

    def guided(self, predict: Predict, x: Tensor, number: int, step: Step) -> Tensor:
        """The prediction for `x` (B, h, d), moved so that the chunk it leads to comes closer.

        Pseudo-inverse guidance (Song et al. 2023), by the vector-Jacobian product through the expert. Not in inference
        mode, where nothing can be differentiated.
        """
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            predicted = predict(x, number)
            clean = step.of_noisy * x + step.of_predicted * predicted
            off = (self.promised.actions - clean.detach()) * self.weight
            (back,) = torch.autograd.grad(clean, x, off)
        return torch.add(predicted.detach(), back, alpha=self.strength(step) / step.of_predicted)

    def strength(self, step: Step) -> float:
        """How far the clean chunk is moved along the product.

        arXiv 2506.07339, eq. 2 to 4, for any mixture x = a * chunk + s * noise. Its z = x / (a + s) is on the straight
        way of eq. 1 at tau = a / (a + s), and DDIM's step is Euler's step of z. Eq. 2 adds min(most, (1 - tau) /
        (tau r^2)) to the velocity, (1 - tau) times that to the clean chunk, for a product with respect to z, a + s
        times that for x; r^2 = s^2 / (a^2 + s^2) is eq. 4. Together min(most * s, (a^2 + s^2) / a).
        """
        clipped = self.most * step.noise
        return min(clipped, (step.signal**2 + step.noise**2) / step.signal) if step.signal > 0 else clipped


class Running(NamedTuple):
    """What the running chunks say for the times of the new ones, `actions` (B, h, d) in the expert's terms: the first
    `promised` (B,) of them are executed whatever comes, the first `known` (B,) exist."""

    actions: Tensor
    promised: Tensor
    known: Tensor

    def prefix(self, longest: int) -> Prefix:
        """The promised actions, `longest` at most, to be gone on from."""
        return Prefix(self.actions, first(self.promised.clamp(max=longest), self.actions.shape[1]))

    def pull(self, most: float) -> Pull:
        """Guidance to all that is known, the less the later. Raises ValueError."""
        require_pull(most)
        weight = soft_mask(self.promised, self.known, self.actions.shape[1])
        return Pull(self.prefix(self.actions.shape[1]), weight.to(self.actions).unsqueeze(-1), most)


def first(count: Tensor, horizon: int) -> Tensor:
    """True for the first `count` (B,) actions, (B, h)."""
    return torch.arange(horizon, device=count.device) < count.unsqueeze(1)


def soft_mask(promised: Tensor, known: Tensor, horizon: int) -> Tensor:
    """How much each action of the running chunk counts, (B, h): 1 where promised, then less and less, 0 where unknown
    (arXiv 2506.07339, eq. 5)."""
    promised, known = promised.unsqueeze(1).float(), known.unsqueeze(1).float()
    action = torch.arange(horizon, device=known.device)
    left = ((known - action) / (known - promised + 1)).clamp(0, 1)
    return torch.where(action < promised, 1.0, left * left.expm1() / (math.e - 1)) * (action < known)


def require_pull(most: float) -> None:
    """Raises ValueError unless `most` can be the largest strength of a pull."""
    if not (math.isfinite(most) and most >= 0):
        raise ValueError(f"pull is {most}, expected a finite number of 0 or more")
