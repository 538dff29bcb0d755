"""Runs demonstrations for the tests of sim."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from robomem.control.kinematics import ArmKinematics
from robomem.control.loop import ControlLoop
from robomem.control.scripted import EpisodeOperator
from robomem.types import FloatArray, Frame, Mode
from sim.experts import Demonstrator
from sim.robot import SimRobot
from sim.tasks.task import SIM

PANDA = SIM / "arms" / "panda" / "panda.xml"


@cache
def panda() -> ArmKinematics:
    return ArmKinematics(PANDA)


@dataclass
class Demonstration:
    """The frames of an episode and, for each, what the demonstrator was after: the kind and place of its goal."""

    frames: list[Frame] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    goals: list[FloatArray] = field(default_factory=list)


def demonstrate(robot: SimRobot, seed: int, until: Callable[[], bool] = lambda: False) -> Demonstration:
    """The demonstrator's episode of `seed` under the control loop, to its end or to when `until` is true."""
    robot.reset(seed)
    task, expert, shown = robot.task, Demonstrator(robot, panda()), Demonstration()
    operator = EpisodeOperator(
        task.instruction, lambda: task.success() or task.failed() or robot.now() >= task.max_s or until()
    )
    loop = ControlLoop(
        robot, expert, operator, None, robot, robot.hz, [], max_chunk_age_s=1.0, seed=seed, source="oracle"
    )
    while (frame := loop.tick()).mode is not Mode.STOPPED:
        shown.frames.append(frame)
        shown.kinds.append(expert.goal_kind)
        shown.goals.append(expert.goal)
    robot.stop()
    return shown
