"""From the network's actions to the robot's: what upstream's server and its clients do after the last layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from robomem.errors import CheckpointError
from robomem.types import FloatArray

GRIPPER = 6  # index of the gripper in an action: x y z, roll pitch yaw, gripper
OPEN = 0.5  # from where on a gripper is open


@dataclass(frozen=True)
class ActionRange:
    """Of the actions of one data set (7,): 1st and 99th percentile, and which numbers were scaled by them to -1..1."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    scaled: tuple[bool, ...]

    @classmethod
    def of(cls, statistics: Mapping[str, Any]) -> "ActionRange":
        """From an entry of upstream's dataset_statistics.json. Raises CheckpointError."""
        try:
            action = statistics["action"]
            low, high = (tuple(map(float, action[name])) for name in ("q01", "q99"))
            scaled = tuple(map(bool, action.get("mask", (True,) * len(low))))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"statistics without a range of actions: {type(error).__name__} {error}") from None
        if not len(low) == len(high) == len(scaled) == GRIPPER + 1 or not np.isfinite([low, high]).all():
            raise CheckpointError(f"statistics of {len(low)} numbers an action, expected {GRIPPER + 1} finite ones")
        return cls(low, high, scaled)

    def actions_out(self, chunk: FloatArray) -> FloatArray:
        """Actions (..., 7) of the data set for normalised ones; the gripper is 0 closed or 1 open."""
        chunk = np.clip(chunk, -1.0, 1.0)
        chunk[..., GRIPPER] = chunk[..., GRIPPER] >= OPEN
        low, high = np.array(self.low), np.array(self.high)
        return np.where(self.scaled, 0.5 * (chunk + 1) * (high - low) + low, chunk)


@dataclass(frozen=True)
class Motion:
    """What an action of the data set moves: `metres` and `radians` a unit, from one action to the next. Its turn is
    "euler", roll pitch yaw about the fixed axes, or "rotvec", a rotation vector, both along the base axes."""

    metres: float = 1.0
    radians: float = 1.0
    turns: Literal["euler", "rotvec"] = "euler"

    def __post_init__(self) -> None:
        if self.turns not in ("euler", "rotvec"):
            raise ValueError(f"turns is '{self.turns}', expected euler or rotvec")

    def poses(self, tool_pose: FloatArray, actions: FloatArray) -> FloatArray:
        """Where the tool is before and after every action (h + 1, 7) of `actions` (h, 7), from `tool_pose` (7,) on."""
        steps = self.radians * actions[:, 3:GRIPPER]
        turns = Rotation.from_euler("xyz", steps) if self.turns == "euler" else Rotation.from_rotvec(steps)
        turned = [Rotation.from_quat(tool_pose[3:], scalar_first=True)]
        for turn in turns:
            turned.append(turn * turned[-1])
        moved = np.cumsum(np.concatenate([tool_pose[None, :3], self.metres * actions[:, :3]]), axis=0)
        return np.concatenate([moved, [turn.as_quat(scalar_first=True) for turn in turned]], axis=1)
