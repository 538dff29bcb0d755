"""A chunk as the loop executes it: checked against the arm once, then one joint command at any time."""

from dataclasses import dataclass

from robomem.control.poses import moved_pose
from robomem.errors import SpecMismatch
from robomem.interfaces import Kinematics
from robomem.types import ActionChunk, FloatArray, JointCommand, Observation


@dataclass(frozen=True, eq=False)
class Plan:
    """`chunk`, and the place where it was taken up: `origin` is a tool pose (7,), or joints for a chunk in joints."""

    chunk: ActionChunk
    kinematics: Kinematics | None
    origin: FloatArray

    @classmethod
    def take_up(cls, chunk: ActionChunk, obs: Observation, kinematics: Kinematics | None) -> "Plan":
        """Follows `chunk` from where `obs` finds the arm. Raises SpecMismatch when it is not for this arm."""
        n_joints, width = len(obs.joint_pos), chunk.values.shape[1]
        if chunk.space == "joint":
            if width != n_joints:
                raise SpecMismatch(f"the policy plans for {width} joints, the arm has {n_joints}")
            return cls(chunk, None, obs.joint_pos)
        if kinematics is None:
            raise SpecMismatch(f"the policy plans in {chunk.space}, which needs kinematics; without: joint")
        return cls(chunk, kinematics, kinematics.tool_pose(obs.joint_pos))

    def is_stale(self, t: float, max_age_s: float) -> bool:
        """True when `t` [s] is further than `max_age_s` from the chunk's first time, on either side.

        A chunk that begins far in the future was stamped on another clock.
        """
        return not abs(t - float(self.chunk.t[0])) <= max_age_s

    def command_at(self, t: float, last: JointCommand) -> JointCommand:
        """The command due at `t` [s], its joints near `last`. Raises InvalidChunk past the end."""
        values, gripper = self.chunk.at(t)
        if self.kinematics is None:
            return JointCommand(values, gripper)
        pose = moved_pose(self.origin, values) if self.chunk.space == "tool_delta" else values
        return JointCommand(self.kinematics.joints_for(pose, last.joint_pos), gripper)
