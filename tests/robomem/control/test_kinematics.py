"""The Panda's geometry against the maker's published figures, and its inverse against itself."""

import mujoco
import numpy as np
import pytest

from robomem.control.kinematics import ArmKinematics
from robomem.errors import UnknownName
from robomem.interfaces import Kinematics
from tests.sim.demonstrations import PANDA

# Craig (modified) DH parameters, Franka FCI documentation, "Denavit-Hartenberg parameters": a [m], d [m], alpha [rad]
DH = [
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
]
FLANGE_M, TOOL_M, HAND_RAD = (
    0.107,
    0.1034,
    -np.pi / 4,
)  # flange from joint 7; tool from flange: default F_T_EE of the hand
LOWER = [-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973]  # rad, FCI documentation, joint limits
UPPER = [2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973]
MAX_VEL = [2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61]  # rad/s, as above
MAX_TORQUE = [87, 87, 87, 87, 12, 12, 12]  # N m, as above
# kg, Gaz et al. 2019, links 1 to 7 as identified; hand and fingers from the Franka Hand data
MASS = [4.970684, 0.646926, 3.228604, 3.587895, 1.225946, 1.666555, 0.735522]
REST = np.array([0.0, -0.6857, 0.0, -2.62, 0.0, 1.9343, np.pi / 4])


@pytest.fixture(scope="module")
def panda() -> ArmKinematics:
    return ArmKinematics(PANDA)


def turn(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def tool_by_dh(joint_pos: np.ndarray) -> np.ndarray:
    """Tool to base, 4 x 4, by the published parameters alone."""
    pose = np.eye(4)
    for (a, d, alpha), theta in zip(DH, joint_pos, strict=True):
        c, s = np.cos(alpha), np.sin(alpha)
        pose = pose @ np.array([[1, 0, 0, a], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
        pose = pose @ turn(theta)
        pose[:3, 3] += d * pose[:3, 2]
    pose[:3, 3] += (FLANGE_M + TOOL_M) * pose[:3, 2]
    return pose @ turn(HAND_RAD)


def random_joints(n: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(LOWER, UPPER, (n, 7))


def test_it_is_kinematics(panda: ArmKinematics) -> None:
    kinematics: Kinematics = panda
    assert kinematics is panda


def test_the_tool_is_where_the_published_parameters_put_it(panda: ArmKinematics) -> None:
    for joint_pos in random_joints(200):
        want, have = tool_by_dh(joint_pos), panda.tool_pose(joint_pos)
        np.testing.assert_allclose(have[:3], want[:3, 3], atol=1e-6)  # m; 1 mm was asked for
        axes = np.empty(9)
        mujoco.mju_quat2Mat(axes, have[3:])
        np.testing.assert_allclose(axes.reshape(3, 3), want[:3, :3], atol=1e-6)


def test_limits_and_masses_are_the_published_ones(panda: ArmKinematics) -> None:
    np.testing.assert_array_equal(panda.lower, LOWER)
    np.testing.assert_array_equal(panda.upper, UPPER)
    model = mujoco.MjModel.from_xml_path(str(PANDA))
    np.testing.assert_array_equal(model.numeric("max_joint_vel").data, MAX_VEL)
    np.testing.assert_array_equal([model.actuator(f"joint{i}").forcerange[1] for i in range(1, 8)], MAX_TORQUE)
    np.testing.assert_allclose([model.body(f"link{i}").mass[0] for i in range(1, 8)], MASS)
    np.testing.assert_allclose([model.body("hand").mass[0], model.body("finger_left").mass[0]], [0.73, 0.015])
    assert model.actuator("gripper").ctrlrange[1] == 0.08  # m, Franka Hand data sheet, travel


def test_many_poses_are_those_of_one_at_a_time(panda: ArmKinematics) -> None:
    joints = random_joints(5)
    np.testing.assert_array_equal(panda.tool_poses(joints), [panda.tool_pose(row) for row in joints])
    assert panda.tool_poses(np.empty((0, 7))).shape == (0, 7)


def test_the_inverse_finds_poses_of_the_work_area(panda: ArmKinematics) -> None:
    rng = np.random.default_rng(1)
    for pos in rng.uniform([0.3, -0.3, 0.01], [0.65, 0.3, 0.4], (40, 3)):
        pose = np.array([*pos, 0.0, 1.0, 0.0, 0.0])
        joint_pos = panda.joints_for(pose, REST)
        np.testing.assert_allclose(panda.tool_pose(joint_pos)[:3], pos, atol=5e-4)
        assert abs(panda.tool_pose(joint_pos)[3:] @ pose[3:]) > 1 - 1e-5
        assert (panda.lower <= joint_pos).all() and (joint_pos <= panda.upper).all()


def test_where_the_arm_is_already_it_stays(panda: ArmKinematics) -> None:
    rest = mujoco.MjModel.from_xml_path(str(PANDA)).key("rest").qpos[:7]
    np.testing.assert_allclose(panda.joints_for(panda.tool_pose(rest), rest), rest, atol=1e-6)


def test_the_tool_stays_while_the_posture_settles(panda: ArmKinematics) -> None:
    joint_pos = REST + np.array([0.3, 0, -0.3, 0, 0, 0, 0])
    pose = panda.tool_pose(joint_pos)
    for _ in range(50):
        joint_pos = panda.joints_for(pose, joint_pos)
        np.testing.assert_allclose(panda.tool_pose(joint_pos)[:3], pose[:3], atol=5e-4)


def test_one_tool_pose_has_one_posture_whatever_way_the_arm_came(panda: ArmKinematics) -> None:
    pose, elbow_out = panda.tool_pose(REST), REST + np.array([0.3, 0, -0.3, 0, 0, 0, 0])
    joint_pos = panda.joints_for(pose, elbow_out)
    for _ in range(300):
        joint_pos = panda.joints_for(pose, joint_pos)
    np.testing.assert_allclose(joint_pos, REST, atol=0.02)


def test_out_of_reach_is_as_near_as_limits_allow(panda: ArmKinematics) -> None:
    joint_pos = REST
    for _ in range(20):
        joint_pos = panda.joints_for([2.0, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0], joint_pos)
    assert np.isfinite(joint_pos).all()
    assert (panda.lower - 1e-9 <= joint_pos).all() and (joint_pos <= panda.upper + 1e-9).all()
    assert panda.tool_pose(joint_pos)[0] > 0.6


def test_an_unknown_rest_pose_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="no key 'home'; known: rest"):
        ArmKinematics(PANDA, rest="home")


def test_an_unknown_site_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match=r"no site 'gripper'; known: .*tool"):
        ArmKinematics(PANDA, tool_site="gripper")
