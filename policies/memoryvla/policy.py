"""MemoryVLA behind the Policy interface: one observation to one chunk of tool poses."""

import math
from typing import Literal, get_args

import numpy as np
import torch

from policies.action.realtime import Prefix, Pull, Running, require_pull
from policies.memoryvla.model import MemoryVLA
from policies.memoryvla.normalize import Normalizer, displacements, on_table, poses, proprioception
from robomem.errors import SpecMismatch
from robomem.interfaces import Kinematics
from robomem.memory.state import MemoryState
from robomem.types import ActionChunk, Context, FloatArray, Observation

SAME_TIME = 1e-6  # s; times are sums of clock ticks
Joining = Literal["none", "prefix", "guided"]


class MemoryVLAPolicy:
    """Weights and geometry; every session's memory is its own value.

    `joining` says how a new chunk joins the running one: "prefix" goes on from what is promised, as the expert was
    trained to; "guided" is drawn to what runs, by `pull` at most, whatever the expert was trained to (realtime.py).
    It is asked every `period` [s], None: as it was in training; what it executes of a chunk before the next comes must
    be in the chunk. Memories have `slots`, None: as in training; with more they merge later and tell moments apart for
    longer. Raises ValueError for a prefix that was not trained, and what cannot be.
    """

    def __init__(
        self,
        model: MemoryVLA,
        normalizer: Normalizer,
        kinematics: Kinematics,
        joining: Joining = "none",
        pull: float = 5.0,
        period: float | None = None,
        slots: int | None = None,
    ) -> None:
        if joining not in get_args(Joining):
            raise ValueError(f"joining is '{joining}', expected one of: {', '.join(get_args(Joining))}")
        if joining == "prefix" and not model.config.sampler.max_delay:
            raise ValueError("joining is 'prefix', the policy was trained with max_delay=0; without training: guided")
        require_pull(pull)
        span = model.config.action_dt * model.config.expert.horizon
        if period is not None and not 0 < period <= span:
            raise ValueError(f"period is {period} s, expected more than 0 and at most {span:g} s, as long as a chunk")
        if slots is not None and slots < 1:
            raise ValueError(f"slots is {slots}, expected 1 or more")
        self.joining, self.pull, self.slots = joining, pull, slots
        self.model = model.eval().requires_grad_(False)
        self.normalizer = normalizer
        self.kinematics = kinematics
        self.period = model.config.period if period is None else period

    def new_memory(self, seed: int) -> MemoryState:
        """An empty memory whose sampling noise is drawn from `seed`."""
        return self.model.bank.empty(seed=seed, slots=self.slots)

    def infer(self, obs: Observation, context: Context, memory: MemoryState) -> ActionChunk:
        """The chunk for `obs`; `memory` is read, then advanced by this observation.

        Raises SpecMismatch when cameras or joints are not those the policy was trained with.
        """
        self._check(obs)
        tool_pose = self.kinematics.tool_pose(obs.joint_pos)
        running = self._running(obs.t, context.version, tool_pose, memory)
        with torch.no_grad() if running and self.joining == "guided" else torch.inference_mode():
            images, words, body = self._inputs(obs, context, tool_pose)
            saw, seen = self.model.encoder(images, words, body)
            noise = torch.Generator().manual_seed(memory.seed * 1_000_003 + memory.step)
            cognitive, perceptual, after = self.model.bank(memory, saw, seen, torch.tensor([obs.t]))
            tool = torch.from_numpy(on_table(tool_pose[:3])).float()[None]
            known = self.model.condition(cognitive, perceptual, body, seen, tool)
            prefix, pull = self._joins(running)
            actions = self.model.sampler.sample(self.model.expert, known, noise, prefix, pull)
        chunk = self._chunk(obs.t, tool_pose, actions[0].double().numpy(), context.version)
        after.picture(obs.images[self.model.config.encoder.cameras[0]])
        after.running = chunk
        memory.become(after)
        return chunk

    def _check(self, obs: Observation) -> None:
        config = self.model.config.encoder
        size = (config.image_size, config.image_size, 3)
        for camera in config.cameras:
            if camera not in obs.images:
                raise SpecMismatch(f"no camera '{camera}'; cameras: {', '.join(sorted(obs.images))}")
            if obs.images[camera].shape != size:
                raise SpecMismatch(f"camera '{camera}' gives {obs.images[camera].shape}, the policy expects {size}")
        joints = config.proprio - 4
        if len(obs.joint_pos) != joints:
            raise SpecMismatch(f"the arm has {len(obs.joint_pos)} joints, the policy expects {joints}")

    def _inputs(
        self, obs: Observation, context: Context, tool_pose: FloatArray
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        config = self.model.config.encoder
        images = torch.from_numpy(np.stack([obs.images[camera] for camera in config.cameras])[None])
        words = torch.tensor([config.read(context.instruction)])
        body = self.normalizer.proprio(proprioception(tool_pose, obs.joint_pos, np.array(obs.gripper)))
        return images, words, torch.from_numpy(body).float()[None]

    def _chunk(self, t: float, tool_pose: FloatArray, actions: FloatArray, version: int) -> ActionChunk:
        actions = self.normalizer.actions_out(actions)
        return ActionChunk(self._due(t), poses(tool_pose, actions), "tool_pose", actions[:, 6], version)

    def _due(self, t: float) -> FloatArray:
        """When the actions of a chunk for time `t` are due."""
        return t + self.model.config.action_dt * np.arange(self.model.config.expert.horizon)

    def _running(self, t: float, version: int, tool_pose: FloatArray, memory: MemoryState) -> Running | None:
        """What the running chunk says for the times of one at `t`, as the expert would say it; None when none does.

        One that answers another context is left as it is: what was corrected must not hold back the answer. Promised is
        what is due when the new chunk takes over, and the action after that when it is on the way to it.
        """
        chunk, due = memory.running, self._due(t)
        if self.joining == "none" or chunk is None or chunk.context_version != version or t < chunk.t[0] - SAME_TIME:
            return None
        known = int((due <= chunk.t[-1] + SAME_TIME).sum())
        values, gripper = zip(*(chunk.at(min(at, chunk.t[-1])) for at in due), strict=True)
        actions = displacements(tool_pose[None], np.array([values]), np.array([gripper]))
        promised = min(known, math.ceil((memory.delay_s - SAME_TIME) / self.model.config.action_dt) + 1)
        counts = torch.tensor([promised]), torch.tensor([known])
        return Running(torch.from_numpy(self.normalizer.actions_in(actions)).float(), *counts) if known else None

    def _joins(self, running: Running | None) -> tuple[Prefix | None, Pull | None]:
        """How the chunk joins `running`."""
        if running is None:
            return None, None
        if self.joining == "prefix":
            return running.prefix(self.model.config.sampler.max_delay), None
        return None, running.pull(self.pull)
