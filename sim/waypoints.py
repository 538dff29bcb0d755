"""The steps of a demonstration."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

Kind = Literal["rest", "wait", "approach", "press", "grasp", "lift", "carry", "release", "retreat"]
KINDS: tuple[Kind, ...] = ("rest", "wait", "approach", "press", "grasp", "lift", "carry", "release", "retreat")


@dataclass(frozen=True, eq=False)
class Waypoint:
    """Bring the tool to `pos` (3,) [m] in a straight line, hand down, with `gripper` 0 closed to 1 open.

    `goal` (3,) [m] is the thing that this step is after, or the next step if this one only waits or rests (a button, an
    object, the bin; a function if that moves; default `pos`), recorded as supervision. `speed` [m/s] is the cruise
    speed. After arrival the tool stays for `dwell` [s], then until `until()` is true, at most `patience` [s] more.
    `yaw` [rad] turns the hand about the vertical; at 0 the fingers open along y.

    The gripper of a "grasp" or "release" moves after arrival. A "rest" goes to the rest pose exactly, joint by joint;
    its `pos` is unused.
    """

    kind: Kind
    pos: ArrayLike
    gripper: float
    goal: ArrayLike | Callable[[], ArrayLike] | None = None
    speed: float = 0.4
    dwell: float = 0.0
    until: Callable[[], bool] | None = None
    patience: float = 10.0
    yaw: float = 0.0
