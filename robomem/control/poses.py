"""Poses of the tool: x y z [m] and unit quaternion w x y z, (7,), in the base frame."""

import numpy as np

from robomem.types import FloatArray


def moved_pose(pose: FloatArray, delta: FloatArray) -> FloatArray:
    """`pose` (7,) moved by `delta` (6,): x y z [m] and rotation vector [rad], both along the base axes."""
    angle = float(np.linalg.norm(delta[3:]))
    turn_vector = delta[3:] * (0.5 * np.sinc(angle / (2 * np.pi)))  # sin(angle / 2) along the axis, exact at 0
    turn_scalar = np.cos(angle / 2)
    scalar, vector = pose[3], pose[4:]
    quaternion = np.concatenate(
        [
            [turn_scalar * scalar - turn_vector @ vector],
            turn_scalar * vector + scalar * turn_vector + np.cross(turn_vector, vector),
        ]
    )
    return np.concatenate([pose[:3] + delta[:3], quaternion / np.linalg.norm(quaternion)])
