"""One episode of a task under the control loop, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from robomem.control.loop import ControlLoop
from robomem.control.replay import SentDigest
from robomem.control.scripted import EpisodeOperator
from robomem.interfaces import Clock, Inference, Kinematics, Robot, Sink
from robomem.types import Source


class SimulatedTask(Protocol):
    """A task that judges itself."""

    name: str
    max_s: float
    instruction: str

    def score(self) -> float:
        """Partial credit, 0 to 1."""

    def success(self) -> bool:
        """True when the task is done."""

    def failed(self) -> bool:
        """True after a mistake that cannot be mended."""


class SimulatedRobot(Robot, Clock, Protocol):
    """A robot in a world that can be set up anew."""

    task: Any
    hz: float

    def reset(self, seed: int) -> None:
        """Begin an episode."""


@dataclass(frozen=True)
class Outcome:
    """What came of an episode; `counts` are the loop's ticks, late, starved, refused and lateness_us."""

    success: bool
    score: float
    seconds: float
    actions_sha256: str
    counts: dict[str, Any]

    def as_summary(self) -> dict[str, Any]:
        """Under the names of summary.json."""
        known = {"success": self.success, "score": self.score, "seconds": self.seconds}
        return {**known, "actions_sha256": self.actions_sha256, **self.counts}


def run_episode(
    robot: SimulatedRobot,
    inference: Inference,
    seed: int,
    sinks: Sequence[Sink],
    *,
    max_chunk_age_s: float,
    kinematics: Kinematics,
    source: Source = "policy",
    clock: Clock | None = None,
) -> Outcome:
    """Resets `robot` to `seed` and runs until its task succeeds, fails beyond repair, or its time is over.

    `clock` is the robot's own unless another paces it.
    """
    robot.reset(seed)
    task: SimulatedTask = robot.task
    digest = SentDigest()
    loop = ControlLoop(
        robot,
        inference,
        EpisodeOperator(task.instruction, lambda: task.success() or task.failed() or robot.now() >= task.max_s),
        None,
        clock or robot,
        robot.hz,
        [*sinks, digest],
        max_chunk_age_s=max_chunk_age_s,
        kinematics=kinematics,
        seed=seed,
        source=source,
    )
    loop.run()
    return Outcome(bool(task.success()), float(task.score()), robot.now(), digest.hexdigest(), loop.summary())
