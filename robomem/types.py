"""The values that cross a border. Frozen, SI units and radians; arrays are checked once, here, and made read-only."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomem.corrections.record import Correction as Correction
from robomem.errors import InvalidChunk

FloatArray = NDArray[np.float64]
Image = NDArray[np.uint8]

ChunkSpace = Literal["joint", "tool_pose", "tool_delta"]
Source = Literal["policy", "human", "oracle"]
TURN_LENGTH = 1e-3  # how far from 1 a unit quaternion's length may be: what float32 and a blend leave
CHUNK_WIDTH: dict[str, int | None] = {"joint": None, "tool_pose": 7, "tool_delta": 6}


def _floats(name: str, values: ArrayLike, shape: tuple[int | None, ...]) -> FloatArray:
    """`values` as a read-only, finite float64 array of `shape` (None: any length)."""
    array = np.array(values, dtype=np.float64)
    if array.ndim != len(shape) or any(want not in (None, have) for have, want in zip(array.shape, shape, strict=True)):
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite: {array}")
    array.setflags(write=False)
    return array


def _turns(name: str, quaternions: FloatArray) -> None:
    """Raises ValueError unless every row (h, 4) has length 1, to within TURN_LENGTH."""
    lengths = np.linalg.norm(quaternions, axis=1)
    if (abs(lengths - 1.0) > TURN_LENGTH).any():
        raise ValueError(f"{name} hold quaternions of lengths {lengths}, expected 1")


def _unit(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is {value}, expected 0 to 1")
    return float(value)


@dataclass(frozen=True, eq=False)
class Observation:
    """What the robot saw and felt at one time.

    `t` [s] on the robot's clock; `images` name -> uint8 (H, W, 3); `joint_pos` (n,) [rad]; `joint_vel` (n,) [rad/s];
    `gripper` 0 closed to 1 open. Raises ValueError for any other shape, type or a value that is not finite.
    Images are not copied but made read-only: nobody may write to them afterwards. One that is seen again is the same.
    """

    t: float
    images: Mapping[str, Image]
    joint_pos: FloatArray
    joint_vel: FloatArray
    gripper: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.t):
            raise ValueError(f"t is {self.t}, expected a finite time [s]")
        for name, image in self.images.items():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"image '{name}' is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
            image.setflags(write=False)
        object.__setattr__(self, "images", MappingProxyType(dict(self.images)))
        object.__setattr__(self, "joint_pos", _floats("joint_pos", self.joint_pos, (None,)))
        object.__setattr__(self, "joint_vel", _floats("joint_vel", self.joint_vel, (len(self.joint_pos),)))
        object.__setattr__(self, "gripper", _unit("gripper", self.gripper))


@dataclass(frozen=True, eq=False)
class JointCommand:
    """A joint position target: `joint_pos` (n,) [rad], `gripper` 0 closed to 1 open.

    The only value that may hold numbers that are not finite: it is what a policy or a person *wants*; `limit_command`
    decides what is sent.
    """

    joint_pos: FloatArray
    gripper: float

    def __post_init__(self) -> None:
        joint_pos = np.array(self.joint_pos, dtype=np.float64)
        if joint_pos.ndim != 1:
            raise ValueError(f"joint_pos has shape {joint_pos.shape}, expected (n,)")
        joint_pos.setflags(write=False)
        object.__setattr__(self, "joint_pos", joint_pos)
        object.__setattr__(self, "gripper", float(self.gripper))

    def is_finite(self) -> bool:
        """True when every number can be sent."""
        return bool(np.isfinite(self.joint_pos).all() and np.isfinite(self.gripper))


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """Actions due at absolute times: `t` (h,) [s] rising, `values` (h, d), `gripper` (h,) 0 to 1.

    `space` "joint": values are joint positions [rad], d = n. "tool_pose": tool frame in base frame, x y z [m] and unit
    quaternion w x y z, d = 7. "tool_delta": displacement x y z [m] and rotation vector [rad] along the base axes, from
    the tool pose where the chunk is taken up, d = 6. `context_version` names the context that the policy answered.
    Raises InvalidChunk.
    """

    t: FloatArray
    values: FloatArray
    space: ChunkSpace
    gripper: FloatArray
    context_version: int = 0

    def __post_init__(self) -> None:
        if self.space not in CHUNK_WIDTH:
            raise InvalidChunk(f"space is '{self.space}', expected one of: {', '.join(CHUNK_WIDTH)}")
        try:
            t = _floats("t", self.t, (None,))
            values = _floats("values", self.values, (len(t), CHUNK_WIDTH[self.space]))
            gripper = _floats("gripper", self.gripper, (len(t),))
            if self.space == "tool_pose":
                _turns("values", values[:, 3:])
        except ValueError as error:
            raise InvalidChunk(str(error)) from None
        if len(t) == 0 or (np.diff(t) <= 0).any():
            raise InvalidChunk(f"t must be rising and not empty, got {t}")
        if (gripper < 0).any() or (gripper > 1).any():
            raise InvalidChunk(f"gripper must be 0 to 1, got {gripper}")
        object.__setattr__(self, "t", t)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "gripper", gripper)

    def at(self, t: float) -> tuple[FloatArray, float]:
        """Values (d,) and gripper at time `t` [s], linear between neighbours; before the first, the first.

        A quaternion is blended along the shorter arc and normalised. Raises InvalidChunk past the last time: the
        chunk has starved and the caller holds.
        """
        if not t <= self.t[-1]:
            raise InvalidChunk(f"asked for t = {t} s, the chunk ends at {self.t[-1]} s")
        after = int(np.searchsorted(self.t, t))
        if after == 0:
            return self.values[0], float(self.gripper[0])
        before = after - 1
        share = (t - self.t[before]) / (self.t[after] - self.t[before])
        low, high = self.values[before], self.values[after]
        if self.space == "tool_pose" and low[3:] @ high[3:] < 0:
            high = np.concatenate([high[:3], -high[3:]])
        value = (1 - share) * low + share * high
        if self.space == "tool_pose":
            value[3:] /= np.linalg.norm(value[3:])
        return value, float((1 - share) * self.gripper[before] + share * self.gripper[after])


@dataclass(frozen=True)
class Context:
    """What the policy is asked to do. `version` grows by one at every change."""

    instruction: str
    corrections: tuple[Correction, ...] = ()
    version: int = 0


class Mode(StrEnum):
    """Who moves the arm."""

    IDLE = "idle"
    POLICY = "policy"
    TELEOP = "teleop"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Start:
    """Begin an episode under an instruction."""

    instruction: str


@dataclass(frozen=True)
class Say:
    """Words from the person."""

    text: str


@dataclass(frozen=True, eq=False)
class TakeOver:
    """The person moves the arm; `command` is where they hold it, None until they move."""

    command: JointCommand | None = None


@dataclass(frozen=True)
class Release:
    """The person lets go; the policy goes on."""


@dataclass(frozen=True)
class End:
    """The episode is over."""


@dataclass(frozen=True)
class Stop:
    """Stop at once and stay stopped."""


Event = Start | Say | TakeOver | Release | End | Stop


@dataclass(frozen=True, eq=False)
class Frame:
    """One tick as it happened: what was seen, wanted, and really sent.

    `late_s` [s] past the deadline; `starved`: no chunk covered this tick and the arm held; `refused` says in words what
    was not done, "" when nothing was.
    """

    obs: Observation
    mode: Mode
    wanted: JointCommand
    sent: JointCommand
    context_version: int
    starved: bool
    late_s: float
    refused: str
    source: Source
