"""Trains a policy on collected demonstrations; goes on where it was interrupted when given the same out=DIR.

`robomem train out=data/training`. Reads the stores that `robomem collect` left in `demos`. The checkpoint is
policy.safetensors in the results' folder; report.html shows the losses and success over time.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robomem.cli.configuration import BadSetting, one_line, require_above_zero, require_at_least
from robomem.cli.progress import Shown
from robomem.cli.runfolder import RunFolder, commit
from robomem.data.durable import cut_torn_line
from robomem.errors import StoreError
from robomem.types import Observation

SUCCESS = "success.jsonl"
PERCENT = 100
STAGES = ("see", "remember", "act")


@dataclass
class Settings:
    """`method` trains on the stores in `demos`; every so often the policy plays `episodes` seeds of each task."""

    tasks: dict[str, Any]
    robot: dict[str, Any]
    kinematics: dict[str, Any]
    method: dict[str, Any]
    demos: str
    frames: str | None
    seed: int
    encoder: str | None
    threads: int
    episodes: int
    first_seed: int
    max_chunk_age_s: float

    def __post_init__(self) -> None:
        require_at_least(self, seed=0, threads=1, episodes=0, first_seed=0)
        require_above_zero(self, "max_chunk_age_s")


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """The checkpoint, its losses and success over time."""
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)  # before torch is there
    import torch
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    from robomem.cli.build import build
    from robomem.data.store import EpisodeStore

    torch.set_num_threads(settings.threads)
    cut_torn_line(folder.path / SUCCESS)
    try:
        train = instantiate(settings.method, _convert_="object")
    except InstantiationException as error:
        raise BadSetting(one_line(error)) from None
    config = train.keywords["config"]
    evaluate = _evaluation(settings, folder, config.model.encoder) if settings.episodes else None
    at = Path(settings.demos)
    demos = [EpisodeStore.open(path) for path in store_folders(settings, at)]
    glances = [] if settings.encoder else [EpisodeStore.open(path) for path in store_folders(settings, at / "glances")]
    stages = STAGES[1:] if settings.encoder else STAGES
    steps = {stage: getattr(config, stage).steps for stage in stages}
    made_by = {"command": "train", "commit": commit(), "seed": settings.seed}
    with Shown({"prepare": PERCENT, "encode": PERCENT, **steps}) as shown:
        path = train(
            stores=demos,
            glances=glances,
            kinematics=build(settings.kinematics),
            folder=folder.path,
            made_by=made_by,
            progress=_progress(shown, steps),
            evaluate=evaluate,
            prepared=Path(settings.frames) if settings.frames else None,
        )
    write_report(settings, folder)
    return {"seed": settings.seed, "checkpoint": str(path), "success": _kept(folder)}


def store_folders(settings: Settings, parent: Path) -> list[Path]:
    """The store of each task in `parent`. Raises StoreError with how to make one that is not there."""
    paths = [parent / task for task in settings.tasks]
    for path in paths:
        if not path.is_dir():
            raise StoreError(f"nothing was collected at {path}; collect it with: robomem collect out={settings.demos}")
    return paths


def _progress(shown: Shown, steps: dict[str, int]) -> Callable[[str, int, int, dict[str, float]], None]:
    done: dict[str, int] = {}

    def progress(stage: str, step: int, of: int, losses: dict[str, float]) -> None:
        now = step if stage in steps else PERCENT * step // of
        note = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        shown.advance(stage, note, now - done.get(stage, 0))
        done[stage] = now

    return progress


def _evaluation(settings: Settings, folder: RunFolder, encoder: Any) -> Callable[[Any, int], None]:
    """Plays `episodes` of every task with the policy as it is, and notes the success.

    Raises BadSetting when the robots cannot be built, or do not see what `encoder`, its config, asks for.
    """
    from robomem.cli.build import build
    from robomem.cli.episode import run_episode
    from robomem.cli.session import Session
    from robomem.control.inference import InlineInference

    geometry = build(settings.kinematics)
    robots = {name: build(settings.robot, task=build(task)) for name, task in settings.tasks.items()}
    for robot in robots.values():
        check_pictures(robot.observe(), encoder.cameras, encoder.image_size)
        robot.close()

    def evaluate(policy: Any, step: int) -> None:
        if any(entry["step"] == step for entry in _kept(folder)):
            return  # played before an interruption
        success = {}
        for name, robot in robots.items():
            session = Session(robot, geometry, InlineInference(policy, policy.period), "policy")
            seeds = range(settings.first_seed, settings.first_seed + settings.episodes)
            won = [run_episode(session, seed, [], settings.max_chunk_age_s).success for seed in seeds]
            success[name] = sum(won) / len(won)
            robot.close()
        with (folder.path / SUCCESS).open("a") as log:
            log.write(json.dumps({"step": step, **success}) + "\n")

    return evaluate


def check_pictures(obs: Observation, cameras: Sequence[str], size: int) -> None:
    """Raises BadSetting unless `obs` has square pictures of `size` [px] from all `cameras`."""
    if missing := [name for name in cameras if name not in obs.images]:
        raise BadSetting(f"the method needs camera '{missing[0]}'; robot.cameras: {', '.join(obs.images)}")
    for name in cameras:
        if (shape := obs.images[name].shape) != (size, size, 3):
            raise BadSetting(f"robot.image_size: camera '{name}' gives {shape}, the method expects {(size, size, 3)}")


def _kept(folder: RunFolder) -> list[dict[str, float]]:
    path = folder.path / SUCCESS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_report(settings: Settings, folder: RunFolder) -> None:
    """report.html: the losses of every stage and success over time."""
    from robomem.report.page import write_train_report
    from robomem.report.values import Curve, TrainReport

    losses = [
        curve
        for stage in STAGES
        if (folder.path / stage / "losses.jsonl").exists()
        for curve in loss_curves(stage, folder.path / stage / "losses.jsonl")
    ]
    success = _kept(folder)
    over_time = tuple(
        Curve(task, [entry["step"] for entry in success], [entry[task] for entry in success])
        for task in settings.tasks
        if success
    )
    facts = {"commit": str(commit()), "seed": str(settings.seed)}
    write_train_report(folder.path / "report.html", TrainReport(tuple(losses), over_time, facts))


def loss_curves(stage: str, path: Path, points: int = 200) -> list[Any]:
    """A curve for every loss of a stage, each point the mean of its share of the steps."""
    from robomem.report.values import Curve

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    size = max(1, len(lines) // points)
    groups = [lines[start : start + size] for start in range(0, len(lines), size)]
    names = [name for name in lines[0] if name not in ("step", "loss")] if lines else []
    return [
        Curve(
            f"{stage}: {name}",
            [group[-1]["step"] for group in groups],
            [sum(line[name] for line in group) / len(group) for group in groups],
        )
        for name in names
    ]
