"""The simulated arm as a Robot and a Clock, and what only a simulation has."""

import sys
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from robomem.control.kinematics import ArmKinematics
from robomem.control.limits import JointLimits
from robomem.errors import PhysicsError, RenderError, UnknownName
from robomem.types import JointCommand
from sim.robot import SimRobot
from sim.tasks.push_buttons import COLOURS, PushButtons
from tests.contracts import ClockContract, RobotContract
from tests.sim.demonstrations import PANDA


@pytest.fixture
def robot() -> Iterator[SimRobot]:
    robot = SimRobot(PushButtons())
    yield robot
    robot.close()


class TestSimRobot(RobotContract, ClockContract):
    @pytest.fixture
    def clock(self, robot: SimRobot) -> SimRobot:
        return robot

    @pytest.fixture
    def limits(self, robot: SimRobot) -> JointLimits:
        return robot.limits

    @pytest.fixture
    def period_s(self, robot: SimRobot) -> float:
        return 1 / robot.hz


def test_a_tick_is_a_whole_number_of_steps() -> None:
    with pytest.raises(ValueError, match=r"tick of 1/30 s is 16.6667 steps of 0.002 s, expected a whole number"):
        SimRobot(PushButtons(), hz=30)
    with pytest.raises(ValueError, match=r"picture of 1/15 s is 1.33333 ticks"):
        SimRobot(PushButtons(), camera_hz=15)
    with pytest.raises(ValueError, match=r"picture of 1/40 s is 0.5 ticks"):
        SimRobot(PushButtons(), camera_hz=40)


def test_pictures_come_at_the_camera_s_own_rate(robot: SimRobot) -> None:
    robot.reset(0)
    target = JointCommand(robot.rest_joint_pos + np.array([0.5, 0, 0, 0, 0, 0, 0]), 1.0)
    pictures = []
    for tick in range(1, 9):
        pictures.append(robot.observe().images["wrist"])
        robot.command(target)
        robot.sleep_until(tick / robot.hz)
    same = [np.array_equal(one, other) for one, other in pairwise(pictures[2:])]
    assert same == [True, False, True, False, True]


def test_a_picture_that_is_seen_again_is_the_same_array(robot: SimRobot) -> None:
    robot.reset(0)
    seen = []
    for tick in range(1, 5):
        seen.append(robot.observe().images["wrist"])
        robot.sleep_until(tick / robot.hz)
    assert [one is other for one, other in pairwise(seen)] == [True, False, True]
    assert not any(image.flags.writeable for image in seen)


def test_it_settles_where_it_is_sent(robot: SimRobot) -> None:
    target = JointCommand(robot.rest_joint_pos + np.array([0.4, 0.3, -0.3, -0.2, 0.3, 0.2, -0.4]), 0.5)
    for _ in range(40):
        robot.command(target)
        robot.sleep_until(robot.now() + 0.05)
    obs = robot.observe()
    np.testing.assert_allclose(obs.joint_pos, target.joint_pos, atol=1e-3)
    np.testing.assert_allclose(obs.joint_vel, 0, atol=1e-2)
    assert obs.gripper == pytest.approx(0.5, abs=0.02)


def test_a_disturbance_moves_the_tool_but_not_what_was_sent() -> None:
    calm, shaken = SimRobot(PushButtons(), cameras=()), SimRobot(PushButtons(), disturbance=0.01, cameras=())
    target, offsets = JointCommand(calm.rest_joint_pos, 0.0), []
    for _ in range(1200):
        for robot in (calm, shaken):
            np.testing.assert_array_equal(robot.command(target).joint_pos, target.joint_pos)
            robot.sleep_until(robot.now() + 0.05)
        offsets.append(shaken.tool_pos() - calm.tool_pos())
    across, up = np.std(offsets, axis=0)[:2], np.std(offsets, axis=0)[2]
    assert (across > 0.003).all() and (across < 0.006).all()  # m: with the pauses, under half of a push at its height
    assert up < 0.7 * across.min()
    assert np.abs(np.diff(offsets, axis=0)).max() < 0.02  # m a tick: smooth


def test_cameras_are_named_and_of_the_size_asked_for() -> None:
    with pytest.raises(UnknownName, match="no camera 'rear'; known: front, wrist"):
        SimRobot(PushButtons(), cameras=("rear",))
    robot = SimRobot(PushButtons(), image_size=32, cameras=("wrist",))
    assert {name: image.shape for name, image in robot.observe().images.items()} == {"wrist": (32, 32, 3)}
    assert robot.picture("front", 96, 48).shape == (48, 96, 3)
    with pytest.raises(UnknownName, match="no camera 'top'"):
        robot.picture("top", 8, 8)
    robot.close()
    robot.close()


def test_without_cameras_nothing_is_drawn() -> None:
    robot = SimRobot(PushButtons(), cameras=())
    assert robot.observe().images == {}
    assert not robot._painters


def test_a_machine_that_cannot_draw_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco.egl", None)
    with pytest.raises(RenderError, match="install an EGL library"):
        SimRobot(PushButtons()).observe()


def test_a_simulation_that_diverges_says_so(robot: SimRobot) -> None:
    robot.data.qvel[:7] = 1e12
    with pytest.raises(PhysicsError, match="push_buttons diverged"):
        robot.sleep_until(robot.now() + 0.05)


@pytest.mark.parametrize("name", ["front", "wrist"])
def test_a_camera_sees_a_button_where_its_calibration_says(robot: SimRobot, name: str) -> None:
    kinematics, rest = ArmKinematics(PANDA), robot.rest_joint_pos
    camera = robot.camera(name)
    for seed in range(4):
        robot.reset(seed)
        for colour, place in robot.task.named().items():
            joint_pos = rest
            if name == "wrist":
                over = np.concatenate([place + np.array([-0.05, 0.02, 0.15]), kinematics.tool_pose(rest)[3:]])
                joint_pos = kinematics.joints_for(over, rest)
            robot.pose(joint_pos, 0.0)
            column, row = (camera.project([[place]], kinematics.tool_poses([joint_pos]))[0, 0] * 128).astype(int)
            shown, own = robot.picture(name, 128, 128)[row, column].astype(float), np.array(COLOURS[colour][:3])
            assert shown @ own > 0.97 * np.linalg.norm(shown) * np.linalg.norm(own), (seed, colour)
