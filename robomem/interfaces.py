"""What the loop asks of its parts. Anything that has these methods fits: a simulation, a real arm, a recording."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from robomem.types import ActionChunk, Context, Correction, Event, Frame, JointCommand, Observation


@runtime_checkable
class Clock(Protocol):
    """Monotonic seconds. In simulation, sleeping steps the physics."""

    def now(self) -> float:
        """Present time [s]."""

    def sleep_until(self, t: float) -> None:
        """Return at time `t` [s] or, when it has passed, at once."""


@runtime_checkable
class Robot(Protocol):
    """An arm with gripper and cameras."""

    def observe(self) -> Observation:
        """The newest observation; never waits for a camera."""

    def command(self, command: JointCommand) -> JointCommand:
        """Send `command`, limited; returns what was really sent."""

    def stop(self) -> None:
        """Brake and hold; allowed in any state, any number of times."""


class Policy[M](Protocol):
    """Weights only. All that an episode changes is in the memory state, so one policy serves any number of sessions."""

    period: float
    """Time [s] from one inference to the next, as it was trained."""

    def new_memory(self, seed: int) -> M:
        """An empty memory whose sampling noise is drawn from `seed`."""

    def infer(self, obs: Observation, context: Context, memory: M) -> ActionChunk:
        """The chunk for `obs`; `memory` is read, then advanced by this observation.

        Raises SpecMismatch when cameras or joints are not those the policy was trained with.
        """


@runtime_checkable
class Delayed(Protocol):
    """A memory whose policy wants to know how long after an observation its chunk takes over: who runs it says so."""

    delay_s: float


class Inference(Protocol):
    """Runs a policy for the loop: inline (exact repeats) or on a thread (the loop never waits)."""

    def start(self, seed: int) -> None:
        """Begin an episode with an empty memory."""

    def submit(self, obs: Observation, context: Context) -> None:
        """Offer an observation; the newest wins, and whether it is used is the inference's own choice."""

    def take(self) -> ActionChunk | None:
        """The newest finished chunk that was not taken yet, else None. Never blocks. Raises what the policy raised."""

    def stop(self) -> None:
        """End the episode; allowed any number of times."""


class Operator(Protocol):
    """A person, or a script in their place."""

    def poll(self) -> Sequence[Event]:
        """Events since the last poll, oldest first; never blocks."""


class Corrections(Protocol):
    """What people have asked to change, and what of it applies."""

    def recall(self, instruction: str, obs: Observation) -> Sequence[Correction]:
        """Corrections learned before that apply to an episode which starts like this."""

    def hear(self, text: str, context: Context, obs: Observation) -> Correction | str:
        """The correction that `text` asks for, kept already; or why there is none, for the person to read."""


class Sink(Protocol):
    """Takes every frame of a run."""

    def append(self, frame: Frame) -> None:
        """Keep `frame`; must return at once."""


class Kinematics(Protocol):
    """The arm's geometry."""

    def tool_pose(self, joint_pos: Any) -> Any:
        """Tool frame in base frame (7,): x y z [m], unit quaternion w x y z, for joint positions (n,) [rad]."""

    def tool_poses(self, joint_pos: Any) -> Any:
        """Tool frames (T, 7) for many joint positions (T, n)."""

    def joints_for(self, tool_pose: Any, joint_pos: Any) -> Any:
        """Joint positions (n,) [rad] near `joint_pos` whose tool frame is nearest to `tool_pose` (7,).

        What the tool leaves free follows from `tool_pose` too: a policy sees the postures that it learned from.
        """
