"""MemoryVLA behind the Policy interface: one observation to one chunk of tool poses."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from policies.memoryvla.model import MemoryVLA
from policies.memoryvla.normalize import Normalizer, on_table, proprioception
from policies.vlm.nano import tokenize
from robomem.errors import SpecMismatch
from robomem.interfaces import Kinematics
from robomem.memory.state import MemoryState
from robomem.types import ActionChunk, Context, FloatArray, Observation


class MemoryVLAPolicy:
    """Weights and geometry; every session's memory is its own value."""

    def __init__(self, model: MemoryVLA, normalizer: Normalizer, kinematics: Kinematics) -> None:
        self.model = model.eval().requires_grad_(False)
        self.normalizer = normalizer
        self.kinematics = kinematics
        self.period = model.config.period

    def new_memory(self, seed: int) -> MemoryState:
        """An empty memory whose sampling noise is drawn from `seed`."""
        return self.model.bank.empty(seed=seed)

    @torch.inference_mode()
    def infer(self, obs: Observation, context: Context, memory: MemoryState) -> ActionChunk:
        """The chunk for `obs`; `memory` is read, then advanced by this observation.

        Raises SpecMismatch when cameras or joints are not those the policy was trained with.
        """
        self._check(obs)
        tool_pose = self.kinematics.tool_pose(obs.joint_pos)
        images, words, body = self._inputs(obs, context, tool_pose)
        saw, seen = self.model.encoder(images, words, body)
        noise = torch.Generator().manual_seed(memory.seed * 1_000_003 + memory.step)
        cognitive, perceptual, after = self.model.bank(memory, saw, seen, torch.tensor([obs.t]))
        tool = torch.from_numpy(on_table(tool_pose[:3])).float()[None]
        known = self.model.condition(cognitive, perceptual, body, seen, tool)
        actions = self.model.sampler.sample(self.model.expert, known, noise)
        after.picture(obs.images[self.model.config.encoder.cameras[0]])
        memory.become(after)
        return self._chunk(obs.t, tool_pose, actions[0].double().numpy(), context.version)

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
        words = torch.tensor([tokenize(context.instruction, config.words)])
        body = self.normalizer.proprio(proprioception(tool_pose, obs.joint_pos, np.array(obs.gripper)))
        return images, words, torch.from_numpy(body).float()[None]

    def _chunk(self, t: float, tool_pose: FloatArray, actions: FloatArray, version: int) -> ActionChunk:
        actions = self.normalizer.actions_out(actions)
        turned = Rotation.from_rotvec(actions[:, 3:6]) * Rotation.from_quat(tool_pose[3:], scalar_first=True)
        poses = np.concatenate([tool_pose[:3] + actions[:, :3], turned.as_quat(scalar_first=True)], axis=1)
        due = t + self.model.config.action_dt * np.arange(len(actions))
        return ActionChunk(due, poses, "tool_pose", actions[:, 6], version)
