"""Feeds a stored episode back through the control loop and reports the first difference.

`robomem replay store=outputs/run/<stamp> episode=0`. against=simulation sends the recorded wishes to a new simulation
of the same seed; against=policy shows the recorded pictures to the policy. `first_difference` is null when all is
equal to the bit.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robomem.cli.configuration import require_above_zero, require_at_least, require_weights
from robomem.cli.runfolder import RunFolder
from robomem.errors import StoreError
from robomem.types import Frame

AGAINST = ("simulation", "policy")


@dataclass
class Settings:
    """Which `episode` of which `store`, and what it is held against."""

    robot: dict[str, Any]
    kinematics: dict[str, Any]
    policy: dict[str, Any]
    store: str
    episode: int
    against: str
    threads: int
    max_chunk_age_s: float

    def __post_init__(self) -> None:
        require_at_least(self, episode=0, threads=1)
        require_above_zero(self, "max_chunk_age_s")
        if self.against not in AGAINST:
            raise ValueError(f"against is '{self.against}', expected one of: {', '.join(AGAINST)}")
        if self.against == "policy":
            require_weights({"policy": self.policy})


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """The counts of the replay, under the names of summary.json, and the first difference."""
    import torch

    from robomem.cli.recording import counts_of, frames_of
    from robomem.control.replay import first_difference

    torch.set_num_threads(settings.threads)
    info, episode = _stored(Path(settings.store), settings.episode)
    recorded = frames_of(episode)
    again = _before_the_policy if settings.against == "policy" else _in_the_simulation
    success, replayed = again(settings, info, recorded)
    difference = first_difference(recorded, replayed)
    if difference is None:
        print(f"all {len(recorded)} ticks are equal to the bit")
    else:
        print(f"first difference: {difference.field} at tick {difference.tick}")
    told = json.loads(json.dumps(asdict(difference)), parse_constant=str) if difference else None  # NaN is not JSON
    counts = counts_of(replayed, info["robot"]["hz"])
    return {"seed": info["seed"], "success": success, **counts, "first_difference": told}


def _stored(path: Path, number: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Notes and arrays of an episode of the store at `path`, or of the run whose folder that is."""
    from robomem.data.store import EpisodeStore

    with EpisodeStore.open(path if (path / "zarr.json").exists() else path / "episodes") as store:
        info = store.info(number)
        missing = sorted({"task", "seed", "robot", "instruction", "success"} - set(info))
        if missing:
            raise StoreError(f"episode {number} of {path} does not say its {', '.join(missing)}")
        return info, store.read(number)


def _in_the_simulation(
    settings: Settings, info: Mapping[str, Any], recorded: Sequence[Frame]
) -> tuple[bool, list[Frame]]:
    """The same wishes sent to a new simulation: whether it succeeds, and its frames."""
    from robomem.cli.build import build
    from robomem.cli.configuration import task_parts
    from robomem.control.loop import ControlLoop
    from robomem.control.replay import RecordedInference, ReplayOperator

    built_then = {name: value for name, value in info["robot"].items() if name != "_target_"}
    robot = build({**settings.robot, **built_then}, task=build(task_parts(info["task"])))
    robot.reset(info["seed"])
    operator, inference = ReplayOperator(recorded, info["instruction"]), RecordedInference(recorded)
    loop = ControlLoop(
        robot, inference, operator, None, robot, robot.hz, [], max_chunk_age_s=settings.max_chunk_age_s,
        seed=info["seed"], source=recorded[0].source,
    )  # fmt: skip
    frames = [loop.tick() for _ in recorded]
    return bool(robot.task.success()), frames


def _before_the_policy(
    settings: Settings, info: Mapping[str, Any], recorded: Sequence[Frame]
) -> tuple[bool, list[Frame]]:
    """The same pictures shown to the policy: what it was then, and what it wants now."""
    from robomem.cli.build import build
    from robomem.control.inference import InlineInference
    from robomem.control.replay import replay

    kinematics = build(settings.kinematics)
    policy = build(settings.policy, kinematics=kinematics)
    late_s = info.get("inference", {}).get("delay_s", 0.0)
    inference = InlineInference(policy, policy.period, delay_s=late_s)
    frames = replay(
        recorded, info["instruction"], inference, info["robot"]["hz"], max_chunk_age_s=settings.max_chunk_age_s,
        kinematics=kinematics, seed=info["seed"],
    )  # fmt: skip
    return bool(info["success"]), frames
