"""Where a calibrated camera sees a place."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from robomem.types import FloatArray

BEHIND = -1.0  # where a place is seen that lies behind the camera: outside of every picture
NEAREST = 1e-3  # m, what is nearer is behind


@dataclass(frozen=True)
class Camera:
    """A pinhole camera (Hartley and Zisserman 2004, chapter 6) with square pictures, without distortion.

    `pose` (7,), x y z [m] and unit quaternion w x y z, is its frame in that of the base or the tool, which it is fixed
    `on`: x to the right of the picture, y up, z against the view, as in MuJoCo and OpenGL. `focal` is its focal length
    in heights of the picture.
    """

    on: Literal["base", "tool"]
    pose: tuple[float, ...]
    focal: float

    def project(self, places: ArrayLike, tool_poses: ArrayLike) -> FloatArray:
        """Where in the picture (T, E, 2) `places` (T, E, 3) [m] are seen with the tool at `tool_poses` (T, 7).

        Both in the base frame. (0, 0) is the upper left corner, (1, 1) the lower right; beyond is out of the picture.
        """
        points, tools = np.asarray(places, dtype=np.float64), np.asarray(tool_poses, dtype=np.float64)
        if self.on == "tool":
            points = _from(points, tools[:, :3], tools[:, 3:])
        own = np.asarray(self.pose, dtype=np.float64)
        x, y, z = np.moveaxis(_from(points, own[None, :3], own[None, 3:]), -1, 0)
        away = np.maximum(-z, NEAREST)
        seen = np.stack([0.5 + self.focal * x / away, 0.5 - self.focal * y / away], axis=-1)
        return np.where((-z > NEAREST)[..., None], seen, BEHIND)


def _from(points: FloatArray, origin: FloatArray, quat: FloatArray) -> FloatArray:
    """`points` (T, E, 3) in the frames at `origin` (T or 1, 3), turned by `quat` (T or 1, 4) w x y z."""
    w, axis = quat[:, None, :1], -quat[:, None, 1:]  # of the turn back
    off = points - origin[:, None]
    seen: FloatArray = off + 2 * np.cross(axis, np.cross(axis, off) + w * off)
    return seen
