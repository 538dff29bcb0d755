"""Episodes for the task tests: a demonstrator, or a hand that follows a plan of the test's own, under real physics."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import MethodType

import numpy as np

from robomem.control.kinematics import ArmKinematics
from robomem.types import Context, JointCommand, Observation
from sim.experts import Demonstrator
from sim.robot import SimRobot
from sim.tasks.task import SIM, Task
from sim.waypoints import Waypoint

Plan = Callable[[], Iterator[Waypoint]]


def follow(task: Task, plan: Plan) -> None:
    """Let the demonstrator of `task` walk `plan` in place of the task's own."""
    task.plan = MethodType(lambda self, rng: plan(), task)


def play(robot: SimRobot, seed: int, each: Callable[[Observation, Demonstrator], None] | None = None) -> float:
    """One episode from `robot.reset(seed)` on, until success, failure or the end of time; returns its length [s]."""
    robot.reset(seed)
    return go_on(robot, seed, each)


def go_on(robot: SimRobot, seed: int, each: Callable[[Observation, Demonstrator], None] | None = None) -> float:
    """Like `play`, from a reset that the caller has done and perhaps changed."""
    task, demonstrator = robot.task, Demonstrator(robot, ArmKinematics(SIM / "arms" / "panda" / "panda.xml"))
    demonstrator.start(seed)
    while robot.now() < task.max_s and not task.success() and not task.failed():
        obs = robot.observe()
        demonstrator.submit(obs, Context(task.instruction))
        if each is not None:
            each(obs, demonstrator)
        chunk = demonstrator.take()
        assert chunk is not None
        robot.command(JointCommand(*chunk.at(obs.t)))
        robot.sleep_until(robot.now() + 1 / robot.hz)
    return robot.now()


def look(robot: SimRobot) -> Observation:
    """What a robot with both cameras would observe now."""
    obs = robot.observe()
    return replace(obs, images={name: robot.picture(name, 64, 64) for name in ("front", "wrist")})


def assert_alike(a: Observation, b: Observation) -> None:
    """Same pictures to the pixel, same joints, speeds and gripper within what no sensor tells apart."""
    for name in a.images:
        np.testing.assert_array_equal(a.images[name], b.images[name])
    np.testing.assert_allclose(a.joint_pos, b.joint_pos, atol=1e-5)
    np.testing.assert_allclose(a.joint_vel, b.joint_vel, atol=1e-4)
    np.testing.assert_allclose(a.gripper, b.gripper, atol=1e-4)


def happened(task: Task) -> list[str]:
    """What the episode's events were, without their times."""
    return [event.what for event in task.events]
