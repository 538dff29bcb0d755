"""Moving a pose, against scipy's rotations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robomem.control.poses import moved_pose

HOME = np.array([0.1, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0])
numbers = st.floats(-4, 4).map(lambda x: round(x, 6))
vectors = st.tuples(numbers, numbers, numbers).map(np.array)


def test_no_displacement_is_exactly_the_same_pose() -> None:
    assert moved_pose(HOME, np.zeros(6)).tolist() == HOME.tolist()


def test_a_quarter_turn_about_the_base_s_vertical() -> None:
    lying = np.array([0.0, 0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])  # its z along -y of the base
    moved = moved_pose(lying, np.array([1.0, 2.0, 3.0, 0.0, 0.0, np.pi / 2]))
    np.testing.assert_allclose(moved, [1.0, 2.0, 3.0, 0.5, 0.5, 0.5, 0.5], atol=1e-15)


@given(vectors, vectors, vectors)
def test_it_agrees_with_scipy(about: np.ndarray, shift: np.ndarray, turn: np.ndarray) -> None:
    start = Rotation.from_rotvec(about)
    moved = moved_pose(np.concatenate([HOME[:3], start.as_quat(scalar_first=True)]), np.concatenate([shift, turn]))
    np.testing.assert_allclose(moved[:3], HOME[:3] + shift)
    there = Rotation.from_quat(moved[3:], scalar_first=True)
    assert (there * (Rotation.from_rotvec(turn) * start).inv()).magnitude() < 1e-7
    assert np.linalg.norm(moved[3:]) == pytest.approx(1.0, abs=1e-12)
