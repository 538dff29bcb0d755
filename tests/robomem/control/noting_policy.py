"""A policy small enough to check by hand: it goes to a goal drawn from its seed, and notes what it saw."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from robomem.errors import SpecMismatch
from robomem.types import ActionChunk, Context, Observation

CAMERA = (4, 6, 3)


@dataclass
class Notes:
    """Its memory: the times it inferred at."""

    seed: int
    seen: list[float] = field(default_factory=list)

    def fork(self) -> Self:
        return deepcopy(self)

    def reset(self) -> None:
        self.seen.clear()


class NotingPolicy:
    """Chunks of `horizon` actions `dt` [s] apart, from the observation on, drawn from the seed and all it has seen."""

    def __init__(self, n_joints: int = 2, horizon: int = 8, dt: float = 0.0625) -> None:
        self.n_joints, self.horizon, self.dt = n_joints, horizon, dt
        self.asked: list[tuple[float, int]] = []

    def new_memory(self, seed: int) -> Notes:
        return Notes(seed)

    def infer(self, obs: Observation, context: Context, memory: Notes) -> ActionChunk:
        for name, image in obs.images.items():
            if name != "front" or image.shape != CAMERA:
                raise SpecMismatch(f"camera '{name}' is {image.shape}; trained with: front {CAMERA}")
        if not obs.images:
            raise SpecMismatch(f"no camera; trained with: front {CAMERA}")
        if len(obs.joint_pos) != self.n_joints:
            raise SpecMismatch(f"{len(obs.joint_pos)} joints; trained with: {self.n_joints}")
        memory.seen.append(obs.t)
        self.asked.append((obs.t, context.version))
        noise = np.random.default_rng([memory.seed, len(memory.seen), len(context.instruction)])
        goal = noise.uniform(-1, 1, self.n_joints) + sum(memory.seen) / 100
        share = np.linspace(0, 1, self.horizon)[:, np.newaxis]
        values = (1 - share) * obs.joint_pos + share * goal
        t = obs.t + self.dt * np.arange(self.horizon)
        return ActionChunk(t, values, "joint", np.full(self.horizon, 0.5), context.version)
