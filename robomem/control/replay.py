"""A stored episode fed back through the same loop, and where it first differs."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from robomem.control.loop import ControlLoop
from robomem.interfaces import Inference, Kinematics
from robomem.types import (
    ActionChunk,
    Context,
    End,
    Event,
    Frame,
    JointCommand,
    Mode,
    Observation,
    Release,
    Start,
    Stop,
    TakeOver,
)


@dataclass(frozen=True)
class Difference:
    """The first thing that differs: `field` of the frame at `tick` (from 0), as recorded and as replayed."""

    tick: int
    field: str
    recorded: Any
    replayed: Any


def first_difference(recorded: Iterable[Frame], replayed: Iterable[Frame]) -> Difference | None:
    """Compares bit for bit all that an episode is made of; not how late it was, nor the words of refusals."""
    for tick, (one, other) in enumerate(zip_longest(recorded, replayed)):
        if one is None or other is None:
            ends = [None if frame is None else str(frame.mode) for frame in (one, other)]
            return Difference(tick, "frame", *ends)
        fields, other_fields = dict(_fields(one)), dict(_fields(other))
        for field in fields | other_fields:
            have, got = fields.get(field), other_fields.get(field)
            if have is None or got is None or not np.array_equal(have, got, equal_nan=have.dtype.kind == "f"):
                return Difference(tick, field, _told(have), _told(got))
    return None


def replay(
    frames: Sequence[Frame],
    instruction: str,
    inference: Inference,
    hz: float,
    *,
    max_chunk_age_s: float,
    kinematics: Kinematics | None = None,
    seed: int = 0,
) -> list[Frame]:
    """The frames of an episode lived again: recorded observations and mode changes in, whatever `inference` wants out.

    Time is that of the observations, as it was when recorded in simulation. Words that changed the context are not in
    the frames, so an episode corrected by them differs from there on.
    """
    robot = ReplayRobot(frames)
    loop = ControlLoop(
        robot,
        inference,
        ReplayOperator(frames, instruction),
        None,
        robot,
        hz,
        [],
        max_chunk_age_s=max_chunk_age_s,
        kinematics=kinematics,
        seed=seed,
        source=next((frame.source for frame in frames if frame.mode is Mode.POLICY), "policy"),
    )
    replayed = [loop.tick() for _ in frames]
    inference.stop()
    return replayed


class ReplayRobot:
    """A Robot and a Clock that live through `frames`: sees what was seen, sends what was sent."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        if not frames:
            raise ValueError("no frames to replay")
        self._frames = frames
        self._next = 0

    def now(self) -> float:
        """Time [s] of the newest observation."""
        return self._present.obs.t

    def sleep_until(self, t: float) -> None:
        """Nothing: time passes by observing."""

    def observe(self) -> Observation:
        """The next recorded observation. Raises IndexError after the last."""
        obs = self._frames[self._next].obs
        self._next += 1
        return obs

    def command(self, command: JointCommand) -> JointCommand:
        """What was sent at this tick, limited then."""
        return self._present.sent

    def stop(self) -> None:
        """Nothing: a recording does not move."""

    @property
    def _present(self) -> Frame:
        return self._frames[max(self._next - 1, 0)]


class ReplayOperator:
    """Whoever caused the mode changes of `frames`, and moved the arm in between."""

    def __init__(self, frames: Sequence[Frame], instruction: str) -> None:
        modes = [Mode.IDLE, *(frame.mode for frame in frames)]
        self._ticks = iter(
            [list(_events(before, frame, instruction)) for before, frame in zip(modes, frames, strict=False)]
        )

    def poll(self) -> Sequence[Event]:
        """The events that lead to the next frame's mode."""
        return next(self._ticks, [])


class RecordedInference:
    """Wants again what the policy wanted in `frames`, one action an observation; nothing where it starved."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        planned = [frame for frame in frames if frame.mode is Mode.POLICY and not frame.starved]
        self._wanted = {frame.obs.t: frame.wanted for frame in planned}
        self._newest: tuple[float, int] | None = None

    def start(self, seed: int) -> None:
        """Nothing: a recording draws no noise."""

    def submit(self, obs: Observation, context: Context) -> None:
        """Looks up what was wanted at the time of `obs`."""
        self._newest = (obs.t, context.version)

    def take(self) -> ActionChunk | None:
        """What was wanted then, as a chunk of one action."""
        newest, self._newest = self._newest, None
        if newest is None or (wanted := self._wanted.get(newest[0])) is None:
            return None
        t, values, gripper = np.array([newest[0]]), wanted.joint_pos[np.newaxis], np.array([wanted.gripper])
        return ActionChunk(t, values, "joint", gripper, newest[1])

    def stop(self) -> None:
        """Forgets what was offered."""
        self._newest = None


class SentDigest:
    """A sink: sha256 over every sent command, to tell two runs apart by one line."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def append(self, frame: Frame) -> None:
        """Takes in the joints and gripper that were sent, as little-endian float64."""
        self._sha256.update(np.append(frame.sent.joint_pos, frame.sent.gripper).astype("<f8").tobytes())

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._sha256.hexdigest()


def _events(before: Mode, frame: Frame, instruction: str) -> Iterator[Event]:
    """What happened between mode `before` and `frame`."""
    now = frame.mode
    if before is Mode.IDLE and now in (Mode.POLICY, Mode.TELEOP):
        yield Start(instruction)
    if now is Mode.TELEOP:
        yield TakeOver(frame.wanted)
    if before is Mode.TELEOP and now in (Mode.POLICY, Mode.IDLE):
        yield Release()
    if before in (Mode.POLICY, Mode.TELEOP) and now is Mode.IDLE:
        yield End()
    if before is not Mode.STOPPED and now is Mode.STOPPED:
        yield Stop()


def _fields(frame: Frame) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Name and value of all that is compared."""
    obs = frame.obs
    yield "obs.t", np.asarray(obs.t)
    yield "obs.joint_pos", obs.joint_pos
    yield "obs.joint_vel", obs.joint_vel
    yield "obs.gripper", np.asarray(obs.gripper)
    for name, image in obs.images.items():
        yield f"obs.images.{name}", image
    yield "mode", np.asarray(str(frame.mode))
    yield "context_version", np.asarray(frame.context_version)
    yield "source", np.asarray(frame.source)
    yield "starved", np.asarray(frame.starved)
    for kind, command in (("wanted", frame.wanted), ("sent", frame.sent)):
        yield f"{kind}.joint_pos", command.joint_pos
        yield f"{kind}.gripper", np.asarray(command.gripper)


def _told(value: np.ndarray[Any, Any] | None) -> Any:
    """A value for a report: numbers as they are, an image by its shape and digest."""
    if value is None or value.ndim < 3:
        return None if value is None else value.tolist()
    return f"{value.dtype} {value.shape} sha256 {hashlib.sha256(value.tobytes()).hexdigest()[:16]}"
