"""Glances show what episodes show: true places, everywhere the arm may be, the same for the same numbers."""

from pathlib import Path

import numpy as np
import pytest

from robomem.control.kinematics import ArmKinematics
from sim.envs import TASKS
from sim.glances import Glance, Glances
from sim.robot import SimRobot

PANDA = Path(__file__).parents[2] / "sim/arms/panda/panda.xml"


@pytest.fixture(scope="module", params=sorted(TASKS))
def taken(request: pytest.FixtureRequest) -> list[Glance]:
    glances = Glances(SimRobot(TASKS[request.param]()), ArmKinematics(PANDA))
    return [glances.at(seed, 0) for seed in range(40)]


def test_scenes_and_poses_differ(taken: list[Glance]) -> None:
    assert len({glance.obs.images["front"].tobytes() for glance in taken}) == len(taken)
    rests = sum(np.allclose(glance.obs.joint_pos, taken[0].obs.joint_pos) for glance in taken)
    assert rests < len(taken) / 2
    assert {glance.obs.gripper < 0.05 for glance in taken} == {True, False}


def test_the_same_numbers_give_the_same_glance() -> None:
    one, other = (Glances(SimRobot(TASKS["guess_where"]()), ArmKinematics(PANDA)) for _ in range(2))
    other.at(8, 1)
    first, second = one.at(7, 2), other.at(7, 2)
    assert first.instruction == second.instruction
    assert first.obs.images["wrist"].tobytes() == second.obs.images["wrist"].tobytes()
    assert np.array_equal(first.entities.pos, second.entities.pos)
    assert first.obs.images["front"].tobytes() != one.at(7, 3).obs.images["front"].tobytes()


def test_a_block_is_shown_hidden_and_held_covers_are_lifted() -> None:
    glances = Glances(SimRobot(TASKS["guess_where"]()), ArmKinematics(PANDA))
    seen = [glances.at(seed, 0).entities for seed in range(120)]
    block_seen, lamp_green = ({bool(e.visible[slot]) for e in seen} for slot in (0, 4))
    assert block_seen == lamp_green == {True, False}
    assert any((e.pos[1:4, 2] > 0.05).any() and e.visible[4] for e in seen)


def test_a_held_cube_is_in_the_hand() -> None:
    robot, kinematics = SimRobot(TASKS["clear_table"]()), ArmKinematics(PANDA)
    glances = Glances(robot, kinematics)
    held = 0
    for seed in range(60):
        glance = glances.at(seed, 0)
        tool = kinematics.tool_pose(glance.obs.joint_pos)[:3]
        cubes = glance.entities.pos[:3][glance.entities.visible[:3]]
        held += bool(len(cubes)) and bool((np.linalg.norm(cubes - tool, axis=1) < 1e-6).any())
    assert 5 < held < 40


def test_an_episode_after_a_glance_is_as_it_would_have_been() -> None:
    fresh, used = SimRobot(TASKS["clear_table"]()), SimRobot(TASKS["clear_table"]())
    Glances(used, ArmKinematics(PANDA)).at(3, 0)
    fresh.reset(11)
    used.reset(11)
    for robot in (fresh, used):
        robot.sleep_until(0.5)
    assert fresh.observe().images["front"].tobytes() == used.observe().images["front"].tobytes()
    assert np.array_equal(fresh.data.qpos, used.data.qpos)
