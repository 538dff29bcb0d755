"""One episode of a task under the control loop, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from robomem.cli.session import Session
from robomem.control.loop import ControlLoop
from robomem.control.replay import SentDigest
from robomem.control.scripted import EpisodeOperator
from robomem.interfaces import Clock, Sink


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
    session: Session, seed: int, sinks: Sequence[Sink], max_chunk_age_s: float, clock: Clock | None = None
) -> Outcome:
    """Resets the robot to `seed` and runs until its task succeeds, fails beyond repair, or its time is over.

    `clock` is the robot's own unless another paces it.
    """
    robot = session.robot
    robot.reset(seed)
    task = robot.task
    digest = SentDigest()
    loop = ControlLoop(
        robot,
        session.inference,
        EpisodeOperator(task.instruction, lambda: task.success() or task.failed() or robot.now() >= task.max_s),
        None,
        clock or robot,
        robot.hz,
        [*sinks, digest],
        max_chunk_age_s=max_chunk_age_s,
        kinematics=session.kinematics,
        seed=seed,
        source=session.source,
    )
    loop.run()
    return Outcome(bool(task.success()), float(task.score()), robot.now(), digest.hexdigest(), loop.summary())
