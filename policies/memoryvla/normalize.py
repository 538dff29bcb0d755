"""Between the robot's units and the network's: proprioception in, actions out, both ways from one set of numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
GRIPPER = 6  # index of the gripper in an action: x y z, rotation vector, gripper


@dataclass(frozen=True)
class Normalizer:
    """`proprio_mean`, `proprio_std` (P,); `action_scale` (6,) maps displacements [m, rad] to about -1..1."""

    proprio_mean: tuple[float, ...]
    proprio_std: tuple[float, ...]
    action_scale: tuple[float, ...]

    @classmethod
    def fit(cls, proprio: FloatArray, actions: FloatArray) -> "Normalizer":
        """From training data: proprio (F, P), actions (F, h, 7)."""
        displacement = np.abs(actions[..., :GRIPPER].reshape(-1, GRIPPER))
        scale = np.maximum(np.quantile(displacement, 0.99, axis=0), [0.05] * 3 + [0.2] * 3)
        return cls(
            tuple(proprio.mean(0).tolist()), tuple(np.maximum(proprio.std(0), 0.02).tolist()), tuple(scale.tolist())
        )

    def proprio(self, values: FloatArray) -> FloatArray:
        """Proprioception (..., P) for the network."""
        return (values - np.array(self.proprio_mean)) / np.array(self.proprio_std)

    def actions_in(self, actions: FloatArray) -> FloatArray:
        """Actions (..., 7) for the network; gripper 0..1 becomes -1..1."""
        return np.concatenate([actions[..., :6] / np.array(self.action_scale), actions[..., 6:] * 2 - 1], axis=-1)

    def actions_out(self, actions: FloatArray) -> FloatArray:
        """Actions (..., 7) from the network; the gripper is kept in 0..1."""
        gripper = np.clip((actions[..., 6:] + 1) / 2, 0, 1)
        return np.concatenate([actions[..., :6] * np.array(self.action_scale), gripper], axis=-1)


def proprioception(tool_pose: FloatArray, joint_pos: FloatArray, gripper: FloatArray) -> FloatArray:
    """The network's sense of the body (..., 3 + n + 1): tool position [m], joints [rad], gripper opening 0..1."""
    return np.concatenate([tool_pose[..., :3], joint_pos, gripper[..., None]], axis=-1)
