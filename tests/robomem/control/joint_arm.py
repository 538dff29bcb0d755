"""The least that is a robot: joints that go exactly where they are sent, seen by one small camera."""

from collections.abc import Sequence

import numpy as np

from robomem.control.limits import JointLimits, limit_command
from robomem.types import Event, Frame, JointCommand, Observation

DT = 0.0625  # s, exact in floating point, so that times can be compared with ==
HZ = 16
LIMITS = JointLimits(np.full(2, -2.0), np.full(2, 2.0), np.full(2, 4.0))  # 0.25 rad a tick


class JointArm:
    """A Robot and a Clock. Every call is noted in `calls`, every command as it was wanted in `wanted`."""

    def __init__(self, limits: JointLimits = LIMITS, period_s: float = DT) -> None:
        self.limits, self.period_s = limits, period_s
        self.t = 0.0
        self.at = self.target = JointCommand(np.zeros(len(limits.lower)), 0.5)
        self.calls: list[str] = []
        self.wanted: list[JointCommand] = []

    def now(self) -> float:
        return self.t

    def sleep_until(self, t: float) -> None:
        if t > self.t:
            self.t, self.at = t, self.target

    def observe(self) -> Observation:
        self.calls.append("observe")
        image = np.full((4, 6, 3), int(self.t / self.period_s) % 256, np.uint8)
        return Observation(
            self.t, {"front": image}, self.at.joint_pos, np.zeros_like(self.at.joint_pos), self.at.gripper
        )

    def command(self, command: JointCommand) -> JointCommand:
        self.calls.append("command")
        self.wanted.append(command)
        self.target = limit_command(command, self.target, self.limits, self.period_s)
        return self.target

    def stop(self) -> None:
        self.calls.append("stop")
        self.target = self.at


class Events:
    """An operator whose events are set by the test: `at` tick -> events; `say` adds to the next poll."""

    def __init__(self, at: dict[int, list[Event]] | None = None) -> None:
        self.at = at or {}
        self.coming: list[Event] = []
        self.polls = 0

    def say(self, *events: Event) -> None:
        self.coming += events

    def poll(self) -> Sequence[Event]:
        events, self.coming = self.coming + self.at.get(self.polls, []), []
        self.polls += 1
        return events


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def append(self, frame: Frame) -> None:
        self.frames.append(frame)
