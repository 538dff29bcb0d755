"""Between the robot's units and the network's: proprioception in, actions out, both ways from one set of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

FloatArray = NDArray[np.float64]
SMALLEST = np.array([0.02] * 3 + [0.1] * 3)  # m, rad: what moves less is not blown up
PLACE_UNIT = 0.1  # m, unit of places given to the network
PLACE_ORIGIN = np.array([0.45, 0.0, 0.0])  # m, middle of the table in the base frame
GRIPPER = 6  # index of the gripper in an action: x y z, rotation vector, gripper


@dataclass(frozen=True)
class Normalizer:
    """`proprio_mean`, `proprio_std` (P,); `action_scale` (h, 6) maps displacements [m, rad] to unit size.

    Each step of a chunk has a scale of its own (per-timestep normalisation, TRI LBM 2025): near steps are short and
    well known, far ones long and uncertain, and all count the same.
    """

    proprio_mean: tuple[float, ...]
    proprio_std: tuple[float, ...]
    action_scale: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(cls, proprio: FloatArray, actions: FloatArray) -> "Normalizer":
        """From training data: proprio (F, P), actions (F, h, 7)."""
        scale = np.maximum(np.sqrt(np.mean(actions[..., :GRIPPER] ** 2, axis=0)), SMALLEST)
        mean, std = proprio.mean(0), np.maximum(proprio.std(0), 0.02)
        return cls(tuple(mean.tolist()), tuple(std.tolist()), tuple(map(tuple, scale.tolist())))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Normalizer":
        """From the lists of a checkpoint. Raises TypeError, KeyError or ValueError when they are something else."""
        rows = tuple(tuple(map(float, row)) for row in values["action_scale"])
        return cls(tuple(map(float, values["proprio_mean"])), tuple(map(float, values["proprio_std"])), rows)

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


def displacements(tool: FloatArray, wanted: FloatArray, gripper: FloatArray) -> FloatArray:
    """Actions (F, h, 7) from tool poses (F, 7) to wanted poses (F, h, 7) and gripper (F, h)."""
    horizon = wanted.shape[1]
    now = Rotation.from_quat(np.repeat(tool[:, 3:], horizon, axis=0), scalar_first=True)
    then = Rotation.from_quat(wanted[..., 3:].reshape(-1, 4), scalar_first=True)
    turn = (then * now.inv()).as_rotvec().reshape(len(tool), horizon, 3)
    return np.concatenate([wanted[..., :3] - tool[:, None, :3], turn, gripper[..., None]], axis=-1)


def poses(tool: FloatArray, actions: FloatArray) -> FloatArray:
    """Where `actions` (h, 7) bring the tool from its pose (7,), (h, 7)."""
    turned = Rotation.from_rotvec(actions[:, 3:6]) * Rotation.from_quat(tool[3:], scalar_first=True)
    return np.concatenate([tool[:3] + actions[:, :3], turned.as_quat(scalar_first=True)], axis=1)


def on_table(pos: FloatArray) -> FloatArray:
    """Places (..., 3) [m] for the network, in units of 0.1 m from the middle of the table."""
    return (pos - PLACE_ORIGIN) / PLACE_UNIT
