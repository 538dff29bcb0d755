"""The last gate before an arm: range and speed of every command. Whoever asks, policy or person, passes here."""

from dataclasses import dataclass

import numpy as np

from robomem.types import FloatArray, JointCommand

SAME_POS = 1e-6  # rad and gripper share; below what any encoder here resolves, so not worth a word


@dataclass(frozen=True, eq=False)
class JointLimits:
    """What an arm may be asked for: `lower` and `upper` (n,) [rad], `max_vel` (n,) [rad/s].

    Every limit is given and finite, so that none is off; `lower` < `upper`, `max_vel` > 0. The gripper is 0 to 1 on
    every arm and moves at its own speed. Raises ValueError.
    """

    lower: FloatArray
    upper: FloatArray
    max_vel: FloatArray

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "max_vel"):
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.ndim != 1 or array.size == 0:
                raise ValueError(f"{name} has shape {array.shape}, expected (n,)")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} is not finite: {array}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if not len(self.lower) == len(self.upper) == len(self.max_vel):
            raise ValueError(
                f"lower, upper and max_vel have {len(self.lower)}, {len(self.upper)} and {len(self.max_vel)} joints, "
                "expected as many each"
            )
        if not (self.lower < self.upper).all():
            raise ValueError(f"lower {self.lower} is not below upper {self.upper}")
        if not (self.max_vel > 0).all():
            raise ValueError(f"max_vel is {self.max_vel}, expected above 0 rad/s")


def limit_command(wanted: JointCommand, last: JointCommand, limits: JointLimits, dt: float) -> JointCommand:
    """Nearest command to `wanted` that is in range and reachable from `last` within dt [s].

    Not finite: `last` is returned. `last` out of range: moves back at the velocity limit. Raises ValueError when `last`
    is not finite, the numbers of joints differ, or dt is not a finite time of 0 or more.
    """
    if not (np.isfinite(dt) and dt >= 0):
        raise ValueError(f"dt is {dt}, expected a finite time of 0 s or more")
    for name, command in (("wanted", wanted), ("last", last)):
        if command.joint_pos.shape != limits.lower.shape:
            raise ValueError(f"{name} has {len(command.joint_pos)} joints, the limits have {len(limits.lower)}")
    if not last.is_finite():
        raise ValueError(f"last is not finite: {last}")
    if not wanted.is_finite():
        return last
    step = limits.max_vel * dt
    in_range = np.clip(wanted.joint_pos, limits.lower, limits.upper)
    reachable = np.clip(in_range, last.joint_pos - step, last.joint_pos + step)
    return JointCommand(reachable, min(max(wanted.gripper, 0.0), 1.0))


def describe_limiting(wanted: JointCommand, sent: JointCommand) -> str:
    """In words what of `wanted` was not sent; "" when all of it was."""
    if not wanted.is_finite():
        return "not finite: held"
    pairs = [(f"joint {i}", w, s) for i, (w, s) in enumerate(zip(wanted.joint_pos, sent.joint_pos, strict=True), 1)]
    pairs.append(("gripper", wanted.gripper, sent.gripper))
    return "; ".join(f"{name} limited: wanted {w:.4g}, sent {s:.4g}" for name, w, s in pairs if abs(w - s) > SAME_POS)
