"""Measures how new chunks join the running ones: the jump where one takes over, and how hard the tool is accelerated.

`robomem bench joining`. Every chunk comes delay_s late, as from a policy that takes as long; every way of joining plays
the same episodes. Accelerations are those of the tool as it is commanded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robomem.cli.build import build
from robomem.cli.configuration import require_above_zero, require_at_least, require_one_task, require_weights
from robomem.cli.episode import run_episode
from robomem.cli.runfolder import RunFolder
from robomem.cli.session import Session
from robomem.control.inference import InlineInference
from robomem.interfaces import Inference, Kinematics
from robomem.types import ActionChunk, Context, FloatArray, Frame, Observation

PERCENTILES = {"median": 50, "p90": 90, "p99": 99}


@dataclass
class Settings:
    """`episodes` of one task under each of `joinings`, which the `policy` takes."""

    tasks: dict[str, Any]
    robot: dict[str, Any]
    kinematics: dict[str, Any]
    policy: dict[str, Any]
    joinings: list[str]
    delay_s: float
    episodes: int
    seed: int
    threads: int
    max_chunk_age_s: float

    def __post_init__(self) -> None:
        require_one_task(self)
        require_weights({"policy": self.policy})
        require_at_least(self, delay_s=0, episodes=1, seed=0, threads=1)
        require_above_zero(self, "max_chunk_age_s")


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """Jumps [mm, degrees] and accelerations [m/s^2] under every way of joining."""
    import torch

    torch.set_num_threads(settings.threads)
    (task,) = settings.tasks.values()
    robot, geometry = build(settings.robot, task=build(task)), build(settings.kinematics)
    told: dict[str, dict[str, Any]] = {}
    for joining in settings.joinings:
        policy = build({**settings.policy, "joining": joining}, kinematics=build(settings.kinematics))
        takeovers = Takeovers(InlineInference(policy, policy.period, delay_s=settings.delay_s))
        path, won = SentPath(geometry, robot.hz), 0
        for seed in range(settings.seed, settings.seed + settings.episodes):
            session = Session(robot, geometry, takeovers, "policy")
            won += run_episode(session, seed, [path], settings.max_chunk_age_s).success
            path.end()
        values = {"jump_mm": takeovers.jump_mm, "jump_deg": takeovers.jump_deg, "acceleration": path.accelerations}
        told[joining] = {name: _percentiles(those) for name, those in values.items()}
        told[joining] |= {"takeovers": len(takeovers.jump_mm), "success": won}
        print(_line(joining, told[joining], settings.episodes))
    return {"seed": settings.seed, "episodes": settings.episodes, "delay_s": settings.delay_s, "joinings": told}


class Takeovers:
    """An inference that notes how far each chunk is from the one it replaces, where it does; both are tool poses."""

    def __init__(self, inference: Inference) -> None:
        self.jump_mm: list[float] = []
        self.jump_deg: list[float] = []
        self._inference = inference
        self._running: ActionChunk | None = None
        self._now = 0.0

    def start(self, seed: int) -> None:
        """Begins an episode."""
        self._running = None
        self._inference.start(seed)

    def submit(self, obs: Observation, context: Context) -> None:
        """Hands `obs` on."""
        self._now = obs.t
        self._inference.submit(obs, context)

    def take(self) -> ActionChunk | None:
        """The finished chunk, noted."""
        chunk = self._inference.take()
        if chunk is not None:
            if self._running is not None and self._now <= self._running.t[-1]:
                (one, _), (other, _) = self._running.at(self._now), chunk.at(self._now)
                self.jump_mm.append(float(np.linalg.norm(one[:3] - other[:3])) * 1e3)
                self.jump_deg.append(math.degrees(2 * math.acos(min(1.0, abs(float(one[3:] @ other[3:]))))))
            self._running = chunk
        return chunk

    def stop(self) -> None:
        """Ends the episode."""
        self._inference.stop()


class SentPath:
    """A sink that keeps where the tool was sent, `hz` times a second."""

    def __init__(self, kinematics: Kinematics, hz: float) -> None:
        self.accelerations: list[float] = []
        """Of all episodes that have ended [m/s^2]."""
        self._kinematics, self._hz = kinematics, hz
        self._places: list[FloatArray] = []

    def append(self, frame: Frame) -> None:
        """Takes in what was sent."""
        self._places.append(self._kinematics.tool_pose(frame.sent.joint_pos)[:3])

    def end(self) -> None:
        """An episode is over; the next begins elsewhere."""
        if len(self._places) > 2:
            second = np.diff(np.array(self._places), n=2, axis=0) * self._hz**2
            self.accelerations += np.linalg.norm(second, axis=1).tolist()
        self._places = []


def _line(joining: str, told: dict[str, Any], episodes: int) -> str:
    """What a person reads."""
    jump = "no chunk took over another"
    if told["takeovers"]:
        median, p99 = told["jump_mm"]["median"], told["jump_mm"]["p99"]
        jump = f"{median:.1f} mm where a chunk takes over (median of {told['takeovers']}; 99th percentile {p99:.1f})"
    hard = f"the tool is accelerated by up to {told['acceleration']['p99']:.1f} m/s^2 (99th percentile)"
    return f"{joining}: {jump}; {hard}; {told['success']} of {episodes} done"


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Of `values`; None where there are none."""
    return {name: float(np.percentile(values, at)) if len(values) else None for name, at in PERCENTILES.items()}
