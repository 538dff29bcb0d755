"""The published MemoryVLA behind the Policy interface: pictures and an instruction to one chunk of tool poses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor

from policies.published.actions import GRIPPER, ActionRange, Motion
from policies.published.capture import CapturedStep, compile_blocks
from policies.published.model import Published
from policies.vlm.encoder import check_inputs
from robomem.errors import SpecMismatch
from robomem.interfaces import Kinematics
from robomem.memory.state import MemoryState
from robomem.types import ActionChunk, Context, FloatArray, Image, Observation


@dataclass(frozen=True)
class Deployment:
    """How the network is used on a robot, which its weights do not tell.

    It sees `cameras`, pictures of `image_size` [px] square, of which the middle, a share `crop` of the area, is shown
    to it: upstream trains on random crops of 0.9. An action takes `action_dt` [s], as in the data it was trained on;
    after `executed` of them it is asked again.
    """

    cameras: tuple[str, ...] = ("front",)
    image_size: int = 224
    crop: float = 0.9
    action_dt: float = 0.2
    executed: int = 8
    compiled: bool = False  # layers that repeat are compiled
    graphs: bool = False  # a step is captured in CUDA graphs
    motion: Motion = field(default_factory=Motion)

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop is {self.crop}, expected a share above 0, at most 1")
        if not (math.isfinite(self.action_dt) and self.action_dt > 0):
            raise ValueError(f"action_dt is {self.action_dt}, expected a finite time above 0 s")
        if self.executed < 1 or self.image_size < 1 or not self.cameras:
            raise ValueError("executed and image_size are 1 or more, and there is a camera")


class PublishedPolicy:
    """Weights and geometry; every session's memory is its own value, whose banks count queries, as upstream's."""

    def __init__(self, model: Published, actions: ActionRange, deployment: Deployment, kinematics: Kinematics) -> None:
        if deployment.executed > model.config.expert.horizon:
            raise ValueError(f"executed is {deployment.executed}, a chunk has {model.config.expert.horizon} actions")
        if deployment.graphs and model.encoder.device.type != "cuda":
            raise ValueError(f"graphs need a GPU, the weights are on {model.encoder.device}")
        if len(deployment.cameras) != model.config.views:
            raise ValueError(f"{len(deployment.cameras)} cameras, the network sees {model.config.views}")
        self.model = model.eval().requires_grad_(False)
        self.actions, self.deployment, self.kinematics = actions, deployment, kinematics
        if deployment.compiled:
            compile_blocks(model)
        self._step = CapturedStep(model) if deployment.graphs else model.step
        self.period = deployment.executed * deployment.action_dt

    def new_memory(self, seed: int, sessions: int = 1) -> MemoryState:
        """An empty memory whose sampling noise is drawn from `seed`."""
        return MemoryState(self.model.empty(sessions), seed)

    def infer(self, obs: Observation, context: Context, memory: MemoryState) -> ActionChunk:
        """The chunk for `obs`; `memory` is read, then advanced by this observation.

        Raises SpecMismatch when cameras or joints are not those the policy was made for.
        """
        images = self._pictures(obs)
        tool_pose = self._tool_pose(obs)
        (actions,) = self.step(images[None], [context.instruction], np.array([obs.t]), memory)
        memory.picture(obs.images[self.deployment.cameras[0]])
        poses = self.deployment.motion.poses(tool_pose, actions)
        gripper = np.clip(actions[[0, *range(len(actions))], GRIPPER], 0.0, 1.0)  # an action ends where the next begins
        due = obs.t + self.deployment.action_dt * np.arange(len(poses))
        return ActionChunk(due, poses, "tool_pose", gripper, context.version)

    @torch.inference_mode()
    def step(self, images: Image, instructions: Sequence[str], t: FloatArray, memory: MemoryState) -> FloatArray:
        """Actions (B, h, 7) of the data set for B sessions: `images` (B, V, H, W, 3) uint8 and an instruction each,
        seen at `t` (B,) [s].

        `memory`, of as many, is read, then advanced.
        """
        shown, device = torch.tensor(images), self.model.encoder.device
        check_inputs(shown, instructions)
        words = self.model.encoder.words(instructions)
        when = torch.from_numpy(np.stack([np.full(len(t), memory.step), t])).float().to(device)
        noise, held = self.noise(memory, len(images), device), (memory.banks[0], memory.banks[1])
        chunks, memory.banks = self._step(shown.to(device), words, held, when, noise)
        memory.step += 1
        return self.actions.actions_out(chunks.double().cpu().numpy())

    def noise(self, memory: MemoryState, sessions: int, device: torch.device) -> Tensor:
        """What the chunks of this step are made from (B, h, 7); a session's own, however many come after it."""
        drawn = torch.Generator().manual_seed(memory.seed * 1_000_003 + memory.step)
        shape = self.model.config.expert.horizon, self.model.config.expert.action_dim
        return torch.stack([torch.randn(shape, generator=drawn) for _ in range(sessions)]).to(device)

    def _pictures(self, obs: Observation) -> Image:
        """What the network is shown of `obs`, (V, H, W, 3)."""
        size, cameras = self.deployment.image_size, self.deployment.cameras
        for camera in cameras:
            if camera not in obs.images:
                raise SpecMismatch(f"no camera '{camera}'; cameras: {', '.join(sorted(obs.images))}")
            if obs.images[camera].shape != (size, size, 3):
                raise SpecMismatch(
                    f"camera '{camera}' gives {obs.images[camera].shape}, the policy expects {(size, size, 3)}"
                )
        return np.stack([middle(obs.images[camera], self.deployment.crop) for camera in cameras])

    def _tool_pose(self, obs: Observation) -> FloatArray:
        try:
            pose: FloatArray = self.kinematics.tool_pose(obs.joint_pos)
        except ValueError as error:
            raise SpecMismatch(
                f"the arm has {len(obs.joint_pos)} joints, the policy's geometry others: {error}"
            ) from None
        return pose


def middle(image: Image, share: float) -> Image:
    """The middle of a square picture, a `share` of its area, as large as all of it was; as upstream crops."""
    if share == 1:
        return image
    side = len(image)
    kept = int(side * math.sqrt(share))
    first = (side - kept) // 2
    box = (first, first, first + kept, first + kept)
    return np.asarray(Picture.fromarray(image).crop(box).resize((side, side), Picture.Resampling.LANCZOS))
