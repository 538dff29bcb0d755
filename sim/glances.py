"""Single moments to learn to see from: random scenes, random poses of the arm, no physics and so a thousandth of the
time of an episode.

Demonstrations show few scenes, each for a long time; an encoder trained on them alone learns the scenes by heart.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from robomem.interfaces import Kinematics
from robomem.types import FloatArray, Observation
from sim.robot import SimRobot
from sim.tasks.task import Entities

AT_REST, AT_THING = 0.25, 0.45  # shares of glances with the arm at rest, and close to something
LOW, HIGH = np.array([0.30, -0.30, 0.01]), np.array([0.66, 0.30, 0.42])  # m, where else the tool may be
CLOSE, ABOVE = 0.03, 0.16  # m, spread beside a thing and height above it
WRONG_ANGLE = 0.06  # rad, spread of the tool's orientation
CLOSED, OPEN = 0.4, 0.35  # shares of glances with the gripper closed, and open


@dataclass(frozen=True, eq=False)
class Glance:
    """What the robot sees and feels, what it was told, and what is true."""

    obs: Observation
    instruction: str
    entities: Entities
    named: dict[str, FloatArray]  # word -> (3,) [m], see Task.named


class Glances:
    """Glances of `robot.task`; `at(seed, number)` is the same whenever it is asked."""

    def __init__(self, robot: SimRobot, kinematics: Kinematics) -> None:
        self._robot, self._kinematics = robot, kinematics
        self._rest_pose = kinematics.tool_pose(robot.rest_joint_pos)

    def at(self, seed: int, number: int) -> Glance:
        """The `number`-th glance of `seed`."""
        robot, rng = self._robot, np.random.Generator(np.random.PCG64((seed, 3, number)))
        robot.reset(seed)
        robot.task.glance(rng)
        joint_pos, gripper = self._joint_pos(rng), self._gripper(rng)
        robot.pose(joint_pos, gripper)
        robot.task.hold(robot.tool_pos(), rng)
        robot.pose(joint_pos, gripper)  # with what it holds
        return Glance(robot.observe(), robot.task.instruction, robot.task.entities(), robot.task.named())

    def _joint_pos(self, rng: np.random.Generator) -> FloatArray:
        """At rest, close to something, or anywhere (7,) [rad]."""
        kind, rest = rng.random(), self._robot.rest_joint_pos
        if kind < AT_REST:
            return rest
        if kind < AT_REST + AT_THING:
            entities = self._robot.task.entities()
            seen = entities.pos[entities.visible]
            place = seen[rng.integers(len(seen))] + [*rng.normal(0, CLOSE, 2), rng.uniform(0, ABOVE)]
        else:
            place = rng.uniform(LOW, HIGH)
        turn = np.array([1.0, *rng.normal(0, WRONG_ANGLE / 2, 3)])
        pose = np.concatenate([place, _product(turn / np.linalg.norm(turn), self._rest_pose[3:])])
        joint_pos: FloatArray = self._kinematics.joints_for(pose, rest)
        return joint_pos

    def _gripper(self, rng: np.random.Generator) -> float:
        kind = rng.random()
        return 0.0 if kind < CLOSED else 1.0 if kind < CLOSED + OPEN else float(rng.random())


def _product(a: FloatArray, b: FloatArray) -> FloatArray:
    """Hamilton product of two quaternions w x y z."""
    product = np.empty(4)
    mujoco.mju_mulQuat(product, a, b)
    return product
