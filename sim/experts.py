"""The scripted demonstrator: walks a task's plan under the same loop as any policy."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from robomem.control.kinematics import ArmKinematics
from robomem.types import ActionChunk, Context, FloatArray, Observation
from sim.robot import SimRobot
from sim.waypoints import KINDS, Waypoint

START_SPEED, END_SPEED = 0.12, 0.05  # m/s, at the ends of a way
QUICKEN, SLOW = 8.0, 5.0  # 1/s, speed gained by every metre away from the start, lost by every metre towards the end
TURN = 0.3  # m of a way that a turn by 1 rad counts as
ASIDE = (0.010, 0.040)  # m beside its way, from where the arm is waited for, to where all waits for it
CAREFUL = {"press": 0.2, "grasp": 0.2, "lift": 0.3, "release": 0.3}  # share of a push where it would break something
LOW, HIGH, FREE = 0.10, 0.25, 2.0  # m above the table between which pushes grow to FREE times what they are below
GRIPPER_S = 0.3  # s from open to closed
CHUNK_TICKS = 3  # a demonstrator that is asked late is still covered


@dataclass(eq=False)
class _Move:
    """One waypoint under way: from where, how far, since when it has arrived."""

    waypoint: Waypoint
    length: float  # m
    start_pos: FloatArray
    start_yaw: float
    start_joint_pos: FloatArray
    done: float = 0.0  # m
    arrived_t: float | None = None

    @property
    def share(self) -> float:
        """How much of the way is done, 0 to 1."""
        return self.done / self.length if self.length > 0 else 1.0

    def advance(self, t: float, dt: float, tool_pos: FloatArray) -> None:
        """Go on for `dt` [s]; the speed follows from the place alone, so that a moment tells what comes next."""
        left = self.length - self.done
        speed = min(self.waypoint.speed, START_SPEED + QUICKEN * self.done, END_SPEED + SLOW * left)
        near, far = ASIDE
        speed *= float(np.clip((far - self._aside(tool_pos)) / (far - near), 0, 1))
        self.done = min(self.done + speed * dt, self.length)
        if self.arrived_t is None and self.done == self.length:
            self.arrived_t = t

    def _aside(self, tool_pos: FloatArray) -> float:
        """How far the tool is beside the straight way [m]; the way to the rest pose is not straight."""
        if self.waypoint.kind == "rest" or self.length == 0:
            return 0.0
        way = np.asarray(self.waypoint.pos, dtype=np.float64) - self.start_pos
        way /= max(float(np.linalg.norm(way)), 1e-9)
        off = tool_pos - self.start_pos
        return float(np.linalg.norm(off - (off @ way) * way))

    def is_over(self, t: float) -> bool:
        """True when the arm has arrived, dwelt, and what it waited for is so or its patience has ended."""
        until = self.waypoint.until
        if self.arrived_t is None:
            return False
        rest_s = t - self.arrived_t - self.waypoint.dwell
        return rest_s >= 0 and (until is None or until() or rest_s >= self.waypoint.patience)


class Demonstrator:
    """An `Inference` that solves `robot.task` from its true state; its chunks are in joint space.

    It wants a smooth path and waits for an arm that is beside it, so from there what is wanted leads back. `goal` and
    `goal_kind` say what the present step is after. What the task leaves open is drawn from the seed of `start`.
    """

    source = "oracle"

    def __init__(self, robot: SimRobot, kinematics: ArmKinematics) -> None:
        self._robot, self._kinematics = robot, kinematics
        self._rest = robot.rest_joint_pos
        self._rest_pos = kinematics.tool_pose(self._rest)[:3]
        self._waypoints: Iterator[Waypoint] | None = None
        self._move: _Move | None = None
        self._chunk: ActionChunk | None = None
        # what is wanted now; set from the arm itself when a demonstration begins
        self._joint_pos, self._gripper, self._pos, self._yaw = self._rest, 0.0, self._rest_pos, 0.0

    def start(self, seed: int) -> None:
        """Begin a demonstration of the episode that the robot was reset to."""
        self._rng = np.random.Generator(np.random.PCG64((seed, 2)))
        self._waypoints = self._robot.task.plan(self._rng)
        self._move, self._chunk = None, None

    def submit(self, obs: Observation, context: Context) -> None:
        """Go on along the plan to the time of `obs`."""
        if self._waypoints is None:
            raise RuntimeError("the demonstrator was not started: call start(seed) first")
        if self._move is None:
            self._joint_pos, self._gripper = obs.joint_pos, obs.gripper
            self._pos, self._yaw = self._kinematics.tool_pose(obs.joint_pos)[:3], 0.0
        if self._move is None or self._move.is_over(obs.t):
            waypoint = next(self._waypoints, None) or Waypoint("rest", self._rest_pos, self._gripper, dwell=np.inf)
            self._move = self._begin(waypoint, obs.t)
        self._advance(self._move, obs)
        self._robot.exposure = self._exposure(self._move.waypoint.kind)
        t = obs.t + np.arange(CHUNK_TICKS) / self._robot.hz
        values, gripper = np.tile(self._joint_pos, (CHUNK_TICKS, 1)), np.full(CHUNK_TICKS, self._gripper)
        self._chunk = ActionChunk(t, values, "joint", gripper, context.version)

    def take(self) -> ActionChunk | None:
        """The chunk for the newest observation, once."""
        chunk, self._chunk = self._chunk, None
        return chunk

    def stop(self) -> None:
        """End the demonstration; allowed any number of times."""
        self._waypoints, self._chunk = None, None

    @property
    def goal(self) -> FloatArray:
        """What the present step is after, at rest the next (3,) [m]: a button, an object, a bin, or no thing: rest."""
        if self._move is None:
            return self._rest_pos
        waypoint = self._move.waypoint
        if waypoint.goal is None:
            return self._rest_pos if waypoint.kind == "rest" else np.array(waypoint.pos, dtype=np.float64)
        return np.array(waypoint.goal() if callable(waypoint.goal) else waypoint.goal, dtype=np.float64)

    @property
    def goal_kind(self) -> int:
        """Index in `KINDS` of the present step."""
        return KINDS.index("rest" if self._move is None else self._move.waypoint.kind)

    def _exposure(self, kind: str) -> float:
        """How much of a push the tool may feel: little where it touches things, more the freer it is."""
        height = float(self._robot.tool_pos()[2])
        return CAREFUL.get(kind, float(np.interp(height, (LOW, HIGH), (1.0, FREE))))

    def _begin(self, waypoint: Waypoint, t: float) -> _Move:
        """Start towards `waypoint` from where the last one led."""
        pos = self._rest_pos if waypoint.kind == "rest" else np.array(waypoint.pos, dtype=np.float64)
        length = max(float(np.linalg.norm(pos - self._pos)), TURN * abs(waypoint.yaw - self._yaw))
        return _Move(waypoint, length, self._pos, self._yaw, self._joint_pos)

    def _advance(self, move: _Move, obs: Observation) -> None:
        """Set what is wanted now."""
        dt = 1 / self._robot.hz
        move.advance(obs.t, dt, self._kinematics.tool_pose(obs.joint_pos)[:3])
        share, waypoint = move.share, move.waypoint
        if move.arrived_t is not None or waypoint.kind not in ("grasp", "release"):  # these wait for the arm
            step = dt / GRIPPER_S
            self._gripper = float(np.clip(waypoint.gripper, self._gripper - step, self._gripper + step))
        if waypoint.kind == "rest":
            # written so that the end is the rest pose exactly
            self._joint_pos = (1 - share) * move.start_joint_pos + share * self._rest
            self._pos, self._yaw = self._kinematics.tool_pose(self._joint_pos)[:3], 0.0
            return
        self._pos = move.start_pos + share * (np.asarray(waypoint.pos, dtype=np.float64) - move.start_pos)
        self._yaw = move.start_yaw + share * (waypoint.yaw - move.start_yaw)
        pose = np.concatenate([self._pos, hand_down(self._yaw)])
        self._joint_pos = self._kinematics.joints_for(pose, self._joint_pos, posture=self._rest)


def hand_down(yaw: float) -> FloatArray:
    """Quaternion (4,), w x y z, of a hand that points down, turned by `yaw` [rad] about the vertical."""
    return np.array([0.0, np.cos(yaw / 2), np.sin(yaw / 2), 0.0])
