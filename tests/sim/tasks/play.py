"""What the task tests share: a demonstrator that walks a plan of the test's own, and moments to compare."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import MethodType

import numpy as np

from robomem.types import Observation
from sim.robot import SimRobot
from sim.tasks.task import Task
from sim.waypoints import Waypoint

Plan = Callable[[], Iterator[Waypoint]]


def follow(task: Task, *plans: Plan) -> None:
    """Let the demonstrator of `task` walk `plans`, each begun when the last has ended, in place of the task's own."""
    task.plan = MethodType(lambda self, rng: (waypoint for plan in plans for waypoint in plan()), task)


def happened(task: Task) -> list[str]:
    """What the episode's events were, without their times."""
    return [event.what for event in task.events]


def look(robot: SimRobot) -> Observation:
    """What a robot with both cameras would observe now."""
    images = {name: robot.picture(name, 64, 64) for name in ("front", "wrist")}
    return replace(robot.observe(), images=images)


def assert_alike(a: Observation, b: Observation) -> None:
    """Same pictures to the pixel, same joints, speeds and gripper within what no sensor tells apart."""
    for name in a.images:
        np.testing.assert_array_equal(a.images[name], b.images[name])
    np.testing.assert_allclose(a.joint_pos, b.joint_pos, atol=1e-5)
    np.testing.assert_allclose(a.joint_vel, b.joint_vel, atol=1e-4)
    np.testing.assert_allclose(a.gripper, b.gripper, atol=1e-4)
