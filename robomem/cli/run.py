"""Runs one episode under the control loop; saves it and a report of it.

`robomem run task=push_buttons seed=50000`. The same seed, policy and number of threads give the same actions to the
bit: `actions_sha256` in summary.json tells.
"""

from dataclasses import dataclass
from typing import Any

from robomem.cli.configuration import require_above_zero, require_at_least, require_one_task
from robomem.cli.runfolder import RunFolder, commit


@dataclass
class Settings:
    """Which task, robot and policy, and the `seed` of scene and noise."""

    tasks: dict[str, Any]
    robot: dict[str, Any]
    kinematics: dict[str, Any]
    policy: dict[str, Any]
    inference: dict[str, Any]
    seed: int
    realtime: bool
    threads: int
    max_chunk_age_s: float

    def __post_init__(self) -> None:
        require_one_task(self)
        require_at_least(self, seed=0, threads=1)
        require_above_zero(self, "max_chunk_age_s")
        if self.inference["_target_"].endswith("ThreadedInference") and not self.realtime:
            raise ValueError("inference=threaded thinks while time passes: it needs realtime=true")


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """One episode: episodes/, report.html, and what came of it."""
    import torch

    from robomem.cli.collect import open_store
    from robomem.cli.episode import run_episode
    from robomem.cli.pacing import PacedClock
    from robomem.cli.recording import FrameList
    from robomem.cli.session import build_session
    from robomem.cli.story import Storyteller
    from robomem.data.recorder import EpisodeRecorder
    from robomem.report.page import write_run_report
    from robomem.report.values import RunReport

    torch.set_num_threads(settings.threads)
    ((name, task),) = settings.tasks.items()
    session = build_session(task, settings.robot, settings.kinematics, settings.policy, settings.inference)
    with open_store(folder.path / "episodes", {"robot": settings.robot}) as store:
        recorder, frames = EpisodeRecorder(store), FrameList()
        teller = Storyteller(session.robot, session.inference)
        clock = PacedClock(session.robot) if settings.realtime else None
        outcome = run_episode(session, settings.seed, [recorder, frames, teller], settings.max_chunk_age_s, clock)
        instruction = session.robot.task.instruction
        parts = {"robot": settings.robot, "policy": settings.policy, "inference": settings.inference}
        made_by = {"command": "run", "commit": commit(), **parts}
        about = {"task": name, "seed": settings.seed, "instruction": instruction, **outcome.as_summary()}
        episode = recorder.finish({**about, **made_by})
    facts = {"seed": str(settings.seed), "actions": outcome.actions_sha256[:16], "commit": str(commit())}
    write_run_report(folder.path / "report.html", RunReport.of(teller.story("memory", settings.seed), frames, facts))
    print(f"{instruction}: {'done' if outcome.success else 'not done'} after {outcome.seconds:.1f} s")
    return {**about, "episode": episode, "threads": settings.threads}
