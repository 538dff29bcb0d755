"""What holds for every task."""

import hashlib
from collections.abc import Iterator
from itertools import pairwise

import mujoco
import numpy as np
import pytest

from robomem.errors import UnknownName
from sim.envs import TASKS, new_task
from sim.robot import SimRobot
from sim.tasks.task import N_ENTITIES
from sim.waypoints import KINDS
from tests.sim.demonstrations import Demonstration, demonstrate

COLLECTING_DISTURBANCE = 0.015  # m

every_task = pytest.mark.parametrize("name", TASKS)


@pytest.fixture
def robot(name: str) -> Iterator[SimRobot]:
    robot = SimRobot(new_task(name))
    yield robot
    robot.close()


def digest(shown: Demonstration) -> str:
    """A hash over everything that was seen and sent."""
    parts = hashlib.sha256()
    for frame in shown.frames:
        obs = frame.obs
        for array in (*obs.images.values(), obs.joint_pos, obs.joint_vel, frame.sent.joint_pos):
            parts.update(array.tobytes())
        parts.update(np.array([obs.t, obs.gripper, frame.sent.gripper]).tobytes())
    return parts.hexdigest()


@every_task
def test_equal_seeds_give_equal_episodes_to_the_byte(robot: SimRobot) -> None:
    def show(seed: int) -> str:
        return digest(demonstrate(robot, seed, until=lambda: robot.now() > 3.0))

    first, other = show(7), show(8)
    assert show(7) == first != other


@every_task
def test_two_robots_show_the_same_episode(robot: SimRobot, name: str) -> None:
    twin = SimRobot(new_task(name))
    shown = [digest(demonstrate(one, 5, until=lambda one=one: one.now() > 1.0)) for one in (robot, twin)]
    twin.close()
    assert shown[0] == shown[1]


@every_task
def test_at_rest_the_demonstrator_says_what_comes_next(robot: SimRobot) -> None:
    shown = demonstrate(robot, 4)
    kinds = [KINDS[kind] for kind in shown.kinds]
    leaving = [i for i, (kind, then) in enumerate(pairwise(kinds)) if kind in ("rest", "wait") and then == "approach"]
    assert leaving
    for i in leaving:
        np.testing.assert_allclose(shown.goals[i], shown.goals[i + 1], atol=2e-3)


@every_task
@pytest.mark.parametrize("disturbance", [0.0, COLLECTING_DISTURBANCE])
def test_the_demonstrator_solves_it(name: str, disturbance: float) -> None:
    robot = SimRobot(new_task(name), disturbance=disturbance, cameras=())
    for seed in range(4):
        scores: list[float] = []
        shown = demonstrate(robot, seed, until=lambda scores=scores: scores.append(robot.task.score()))
        assert robot.task.success(), f"seed {seed}: {robot.task.events}"
        assert not robot.task.failed()
        assert scores == sorted(scores)
        assert robot.task.score() == 1.0
        assert not any(frame.starved or frame.refused for frame in shown.frames)


@every_task
def test_the_arm_alone_at_rest_solves_nothing(robot: SimRobot) -> None:
    robot.reset(2)
    robot.sleep_until(robot.task.max_s)
    assert not robot.task.success()
    assert robot.task.score() < 1.0


@every_task
def test_pictures_show_something_and_change(robot: SimRobot) -> None:
    shown = demonstrate(robot, 1, until=lambda: robot.now() > 4.0)
    for camera in ("front", "wrist"):
        first, last = (shown.frames[at].obs.images[camera].astype(int) for at in (0, -1))
        assert first.std() > 5
        assert np.abs(first - last).max() > 20


@every_task
def test_what_is_seen_anew_shares_no_memory(robot: SimRobot) -> None:
    frames = demonstrate(robot, 1, until=lambda: robot.now() > 0.3).frames
    for one, other in pairwise(frames):
        for camera, image in one.obs.images.items():
            again = other.obs.images[camera]
            assert image is again or not np.shares_memory(image, again)
        assert not np.shares_memory(one.obs.joint_pos, other.obs.joint_pos)


@every_task
def test_everything_in_the_scene_has_a_name(robot: SimRobot) -> None:
    spec = robot.task.build()
    things = ("bodies", "geoms", "joints", "sites", "cameras", "lights", "actuators", "tendons", "equalities", "keys")
    nameless = [f"{kind}[{i}]" for kind in things for i, thing in enumerate(getattr(spec, kind)) if not thing.name]
    assert not nameless


@every_task
def test_entities_are_where_they_are_seen(robot: SimRobot) -> None:
    for seed in range(5):
        robot.reset(seed)
        entities = robot.task.entities()
        assert entities.pos.shape == (N_ENTITIES, 3)
        assert entities.visible.shape == (N_ENTITIES,)
        assert entities.visible.any()
        low, high = np.array([0.2, -0.45, -0.01]), np.array([0.8, 0.45, 0.5])
        assert ((entities.pos >= low) & (entities.pos <= high))[entities.visible].all()


@every_task
def test_the_judge_s_state_is_forgotten_at_reset(robot: SimRobot) -> None:
    demonstrate(robot, 3)
    assert robot.task.score() > 0
    robot.reset(3)
    assert robot.task.score() == 0
    assert not robot.task.events
    assert not (robot.task.success() or robot.task.failed())


@every_task
def test_contact_forces_leave_the_arm_where_it_should_be(robot: SimRobot) -> None:
    """No hidden collision: an arm at rest stays there, whatever the task places."""
    for seed in range(5):
        robot.reset(seed)
        robot.sleep_until(0.5)
        np.testing.assert_allclose(robot.observe().joint_pos, robot.rest_joint_pos, atol=1e-3)
        assert not robot.data.warning[mujoco.mjtWarning.mjWARN_CONTACTFULL].number


def test_an_unknown_task_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"no task 'pour'; known: .*push_buttons"):
        new_task("pour")
