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
JOINT_SPEED = 2.0  # rad/s, no joint is asked for more, a little less than the slowest can do
TURN = 0.3  # m of a way that a turn by 1 rad counts as
LAG_S = 0.1  # s, the arm is behind what is wanted of it; so near the end of a way the end itself is wanted
FINE = {"press": 0.8, "grasp": 0.6, "lift": 0.6, "release": 1.0}  # along a line, things are touched: share of a push
AIMED = ("approach", "carry")  # where these arrive, what follows goes on
AIM = 0.006  # m, standard deviation of how far beside a thing it aims, at most twice that
ASIDE = (0.010, 0.040)  # m beside such a line, from where the arm is waited for, to where all waits for it
GRIPPER_S = 0.3  # s from open to closed
CHUNK_TICKS = 3  # a demonstrator that is asked late is still covered


@dataclass(eq=False)
class _Move:
    """One waypoint under way: from where, how far, since when it has arrived."""

    waypoint: Waypoint
    pos: FloatArray  # of the end
    start_pos: FloatArray
    start_yaw: float
    done: float = 0.0  # m, of a fine step
    arrived_t: float | None = None

    @property
    def length(self) -> float:
        """From the start to the end [m]."""
        return self.way(self.start_pos, self.start_yaw)

    def way(self, pos: FloatArray, yaw: float) -> float:
        """From a pose to the end [m], turns counted in."""
        return max(float(np.linalg.norm(self.pos - pos)), TURN * abs(self.waypoint.yaw - yaw))

    def speed(self, gone: float, left: float) -> float:
        """How fast [m/s] so far from the start and the end [m]: it follows from the place alone."""
        return min(self.waypoint.speed, START_SPEED + QUICKEN * gone, END_SPEED + SLOW * left)

    def along(self, dt: float, tool_pos: FloatArray) -> float:
        """The share of a fine step, 0 to 1, that is done `dt` [s] later; it waits for a tool beside its line."""
        length = self.length
        near, far = ASIDE
        speed = self.speed(self.done, length - self.done)
        speed *= float(np.clip((far - self._aside(tool_pos)) / (far - near), 0, 1))
        self.done = min(self.done + speed * dt, length)
        return self.done / length if length > 0 else 1.0

    def ahead(self, tool_pos: FloatArray, tool_yaw: float) -> float:
        """The share of the way from where the tool is, 0 to 1, that is wanted now, so that it has its speed."""
        left = self.way(tool_pos, tool_yaw)
        reach = LAG_S * self.speed(float(np.linalg.norm(tool_pos - self.start_pos)), left)
        return min(reach / left, 1.0) if left > 0 else 1.0

    def _aside(self, tool_pos: FloatArray) -> float:
        """How far the tool is beside the line [m]."""
        way = self.pos - self.start_pos
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

    From wherever the arm is it wants the straight way on, at a speed that follows from the place: what is done in a
    moment can be told from that moment. Where things are touched it keeps to a line and waits for an arm beside it.
    `goal` and `goal_kind` say what the present step is after. What the task leaves open is drawn from the seed of
    `start`.
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
        self._aim: FloatArray = np.zeros(3)

    def submit(self, obs: Observation, context: Context) -> None:
        """Go on along the plan to the time of `obs`."""
        if self._waypoints is None:
            raise RuntimeError("the demonstrator was not started: call start(seed) first")
        if self._move is None:
            self._joint_pos, self._gripper = obs.joint_pos, obs.gripper
            self._pos, self._yaw = self._kinematics.tool_pose(obs.joint_pos)[:3], 0.0
        if self._move is None or self._move.is_over(obs.t):
            waypoint = next(self._waypoints, None) or Waypoint("rest", self._rest_pos, self._gripper, dwell=np.inf)
            self._move = self._begin(waypoint)
        self._advance(self._move, obs)
        self._robot.exposure = FINE.get(self._move.waypoint.kind, 1.0)
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

    def _begin(self, waypoint: Waypoint) -> _Move:
        """Start towards `waypoint` from where the last one led."""
        if waypoint.kind == "rest":
            return _Move(waypoint, self._rest_pos, self._pos, self._yaw)
        if waypoint.kind in AIMED:
            self._aim = np.append(AIM * np.clip(self._rng.standard_normal(2), -2, 2), 0.0)
        return _Move(waypoint, np.asarray(waypoint.pos, dtype=np.float64) + self._aim, self._pos, self._yaw)

    def _advance(self, move: _Move, obs: Observation) -> None:
        """Set what is wanted now."""
        dt, waypoint = 1 / self._robot.hz, move.waypoint
        tool = self._kinematics.tool_pose(obs.joint_pos)
        if waypoint.kind in FINE:
            pos, yaw, share = move.start_pos, move.start_yaw, move.along(dt, tool[:3])
        else:
            pos, yaw = tool[:3], yaw_of(tool[3:])
            share = move.ahead(pos, yaw)
        if move.arrived_t is None and share == 1.0:
            move.arrived_t = obs.t
        if move.arrived_t is not None or waypoint.kind not in ("grasp", "release"):  # these wait for the arm
            step = dt / GRIPPER_S
            self._gripper = float(np.clip(waypoint.gripper, self._gripper - step, self._gripper + step))
        self._pos, self._yaw = pos + share * (move.pos - pos), yaw + share * (waypoint.yaw - yaw)
        if waypoint.kind == "rest":  # joint by joint, so that the end is the rest pose exactly
            joint_pos = (1 - share) * obs.joint_pos + share * self._rest
        else:
            pose = np.concatenate([self._pos, hand_down(self._yaw)])
            joint_pos = self._kinematics.joints_for(pose, self._joint_pos)
        turn = joint_pos - self._joint_pos
        fastest = float(np.abs(turn).max())
        if fastest > JOINT_SPEED * dt:
            joint_pos = self._joint_pos + turn * (JOINT_SPEED * dt / fastest)
        self._joint_pos = joint_pos


def yaw_of(quat: FloatArray) -> float:
    """The turn about the vertical [rad], -pi to pi, of a hand that points down (4,), w x y z."""
    return float(np.arctan2(2 * quat[1] * quat[2], quat[1] ** 2 - quat[2] ** 2))


def hand_down(yaw: float) -> FloatArray:
    """Quaternion (4,), w x y z, of a hand that points down, turned by `yaw` [rad] about the vertical."""
    return np.array([0.0, np.cos(yaw / 2), np.sin(yaw / 2), 0.0])
