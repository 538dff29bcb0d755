"""What crosses a border is checked there: shapes, types, ranges, and that nobody can change it afterwards."""

from typing import Any

import numpy as np
import pytest

from robomem.errors import InvalidChunk
from robomem.types import ActionChunk, Observation

NAN, INF = float("nan"), float("inf")
ABOVE, TURNED = [0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0], [0.4, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0]


def observation(**changes: Any) -> Observation:
    picture = np.zeros((4, 4, 3), np.uint8)
    right: dict[str, Any] = {"t": 0.0, "images": {"front": picture}, "joint_pos": [0.0] * 7, "joint_vel": [0.0] * 7}
    return Observation(**{**right, "gripper": 1.0, **changes})


def chunk(**changes: Any) -> ActionChunk:
    right = {"t": [1.0, 1.5], "values": [ABOVE, TURNED], "space": "tool_pose", "gripper": [1.0, 0.0]}
    return ActionChunk(**{**right, **changes})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"t": NAN}, "t is nan"),
        ({"images": {"front": np.zeros((4, 4, 3))}}, "image 'front' is float64"),
        ({"images": {"front": np.zeros((4, 4), np.uint8)}}, r"image 'front' is uint8 \(4, 4\)"),
        ({"joint_pos": [[0.0] * 7]}, "joint_pos has shape"),
        ({"joint_pos": [0.0, INF]}, "joint_pos is not finite"),
        ({"joint_vel": [0.0] * 6}, "joint_vel has shape"),
        ({"gripper": 1.01}, "gripper is 1.01"),
        ({"gripper": NAN}, "gripper is nan"),
    ],
)
def test_an_observation_that_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        observation(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"t": [], "values": np.empty((0, 7)), "gripper": []}, "not empty"),
        ({"t": [1.0, 1.0]}, "t must be rising"),
        ({"t": [1.0, NAN]}, "t is not finite"),
        ({"values": [ABOVE]}, "values has shape"),
        ({"values": [ABOVE[:6], TURNED[:6]]}, "values has shape"),
        ({"values": [[INF, *ABOVE[1:]], TURNED]}, "values is not finite"),
        ({"values": [ABOVE, [*ABOVE[:3], 0.0, 0.0, 0.0, 0.0]]}, "values hold quaternions of lengths"),
        ({"values": [ABOVE, [*ABOVE[:3], 1.002, 0.0, 0.0, 0.0]]}, "values hold quaternions of lengths"),
        ({"gripper": [1.0]}, "gripper has shape"),
        ({"gripper": [1.0, -0.1]}, "gripper must be 0 to 1"),
        ({"space": "tool"}, "space is 'tool', expected one of: joint, tool_pose, tool_delta"),
    ],
)
def test_a_chunk_that_no_arm_could_follow_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidChunk, match=says):
        chunk(**changes)


def test_a_quaternion_may_be_off_by_what_float32_leaves() -> None:
    rounded = np.array([[*ABOVE[:3], 0.6, 0.0, 0.8, 0.0], TURNED], np.float32)
    assert chunk(values=rounded).values.dtype == np.float64


def test_between_two_poses_the_tool_turns_along_the_shorter_arc() -> None:
    pose, gripper = chunk(values=[ABOVE, [-x if i > 2 else x for i, x in enumerate(TURNED)]]).at(1.25)
    assert np.linalg.norm(pose[3:]) == pytest.approx(1.0) and abs(pose[3]) == pytest.approx(np.sqrt(0.5))
    assert gripper == 0.5


def test_what_was_checked_does_not_change() -> None:
    joint_pos = np.zeros(7)
    seen = observation(joint_pos=joint_pos)
    joint_pos[0] = NAN
    assert seen.joint_pos[0] == 0.0
    for array in (seen.joint_pos, seen.images["front"], chunk().values):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
