"""One chunk, followed in each space it may be in."""

import numpy as np
import pytest

from robomem.control.plan import Plan
from robomem.errors import InvalidChunk, SpecMismatch
from robomem.types import ActionChunk, JointCommand, Observation

OBS = Observation(10.0, {}, [0.5, 0.25], [0.0, 0.0], 0.5)
LAST = JointCommand([0.5, 0.25], 0.5)
T = np.array([10.0, 11.0])
GRIPPER = np.array([0.0, 1.0])
TURNED = [0.0, 0.0, 0.0, 1.0]  # half a turn about z


class Gantry:
    """Two joints that slide the tool along x and y; notes where it was asked to start from."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[float], list[float]]] = []

    def tool_pose(self, joint_pos: np.ndarray) -> np.ndarray:
        return np.array([*joint_pos, 0.0, 1.0, 0.0, 0.0, 0.0])

    def joints_for(self, tool_pose: np.ndarray, joint_pos: np.ndarray) -> np.ndarray:
        self.asked.append((tool_pose.tolist(), joint_pos.tolist()))
        return np.asarray(tool_pose[:2])


def chunk(space: str, values: list[list[float]]) -> ActionChunk:
    return ActionChunk(T, values, space, GRIPPER)  # type: ignore[arg-type]


def test_joints_are_followed_as_they_are() -> None:
    plan = Plan.take_up(chunk("joint", [[0.0, 0.0], [1.0, 2.0]]), OBS, Gantry())
    assert plan.origin.tolist() == [0.5, 0.25]
    command = plan.command_at(10.25, LAST)
    assert command.joint_pos.tolist() == [0.25, 0.5]
    assert command.gripper == 0.25


def test_tool_poses_become_joints_near_the_last_command() -> None:
    gantry = Gantry()
    plan = Plan.take_up(chunk("tool_pose", [[0.0, 0.0, 0.0, *TURNED], [1.0, 2.0, 0.0, *TURNED]]), OBS, gantry)
    command = plan.command_at(10.5, LAST)
    assert command.joint_pos.tolist() == [0.5, 1.0]
    assert command.gripper == 0.5
    assert gantry.asked == [([0.5, 1.0, 0.0, *TURNED], [0.5, 0.25])]


def test_tool_displacements_start_where_the_chunk_was_taken_up() -> None:
    gantry = Gantry()
    plan = Plan.take_up(chunk("tool_delta", [[0.0] * 6, [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]]), OBS, gantry)
    elsewhere = JointCommand([0.75, 0.75], 0.5)
    assert plan.command_at(10.5, elsewhere).joint_pos.tolist() == [1.0, 1.25]
    assert gantry.asked == [([1.0, 1.25, 1.5, 1.0, 0.0, 0.0, 0.0], [0.75, 0.75])]


def test_past_its_end_there_is_no_command() -> None:
    plan = Plan.take_up(chunk("joint", [[0.0, 0.0]] * 2), OBS, None)
    assert plan.command_at(11.0, LAST).gripper == 1.0
    with pytest.raises(InvalidChunk, match="the chunk ends at 11"):
        plan.command_at(11.0000001, LAST)


@pytest.mark.parametrize("n", [1, 3])
def test_another_number_of_joints_is_refused(n: int) -> None:
    with pytest.raises(SpecMismatch, match=f"the policy plans for {n} joints, the arm has 2"):
        Plan.take_up(chunk("joint", [[0.0] * n] * 2), OBS, None)


@pytest.mark.parametrize(("space", "values"), [("tool_pose", [0.0, 0.0, 0.0, *TURNED]), ("tool_delta", [0.0] * 6)])
def test_tool_space_without_kinematics_is_refused(space: str, values: list[float]) -> None:
    with pytest.raises(SpecMismatch, match=f"the policy plans in {space}, which needs kinematics; without: joint"):
        Plan.take_up(chunk(space, [values] * 2), OBS, None)


@pytest.mark.parametrize(("t", "stale"), [(7.9, True), (8.0, False), (10.0, False), (12.0, False), (12.1, True)])
def test_stale_is_further_from_the_first_time_than_allowed(t: float, stale: bool) -> None:
    assert Plan.take_up(chunk("joint", [[0.0, 0.0]] * 2), OBS, None).is_stale(t, 2.0) is stale


def test_a_time_that_is_no_number_is_stale() -> None:
    assert Plan.take_up(chunk("joint", [[0.0, 0.0]] * 2), OBS, None).is_stale(float("nan"), 2.0)
