"""Records demonstrations: the scripted demonstrator under the control loop, one store of episodes for each task.

`robomem collect task=all episodes=400 glances=20000 first_seed=0 workers=2 out=data/demos`. Glances are single moments
of random scenes for the encoder to learn to see from, in stores of their own under glances/. What is already in the
stores is left out, so the same words go on after an interruption. A demonstration that fails is stored too, as such.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomem.cli.configuration import require_at_least
from robomem.cli.progress import Shown
from robomem.cli.runfolder import RunFolder, commit
from robomem.cli.workers import run_jobs
from robomem.errors import PhysicsError, StoreError

Part = dict[str, Any]
EXPERT_CHUNK_S = 1.0  # s, far more than a demonstrator's chunk


@dataclass
class Settings:
    """`episodes` and `glances` for every task, of seeds `first_seed` and up."""

    tasks: dict[str, Any]
    robot: dict[str, Any]
    kinematics: dict[str, Any]
    policy: dict[str, Any]
    glancer: dict[str, Any]
    episodes: int
    glances: int
    first_seed: int
    workers: int

    def __post_init__(self) -> None:
        require_at_least(self, episodes=0, glances=0, first_seed=0, workers=1)
        if "path" in self.policy:
            raise ValueError(f"policy {self.policy['_target_']} demonstrates nothing; choose policy=demonstrator")


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """A store for each task, `workers` tasks at a time: a store has one writer."""
    parts = {name: part for name, part in asdict(settings).items() if name in ("robot", "kinematics", "policy")}
    seeds = {"first_seed": settings.first_seed, "episodes": settings.episodes}
    jobs = [
        {"name": name, "task": task, **parts, **seeds, "path": str(folder.path / name)}
        for name, task in settings.tasks.items()
    ]
    counts = {name: {"episodes": 0, "new": 0, "successes": 0, "ticks": 0, "glances": 0} for name in settings.tasks}
    with Shown(dict.fromkeys(settings.tasks, settings.episodes)) as shown:
        for job, message in run_jobs("robomem.cli.collect:collect_task", jobs, settings.workers):
            count = counts[job["name"]]
            for key in message:
                count[key] += message[key]
            shown.advance(job["name"], f"{count['successes']}/{count['episodes']} solved", message["episodes"])
    with Shown({f"glances of {name}": settings.glances for name in settings.tasks}) as shown:
        for job, message in run_jobs("robomem.cli.glances:take", _glance_jobs(settings, folder), settings.workers):
            counts[job["name"]]["glances"] += message["glances"]
            shown.advance(f"glances of {job['name']}", steps=message["glances"])
    return {"seed": settings.first_seed, "tasks": counts}


def _glance_jobs(settings: Settings, folder: RunFolder) -> list[dict[str, Any]]:
    parts = {"robot": settings.robot, "kinematics": settings.kinematics, "glancer": settings.glancer}
    seeds = {"first_seed": settings.first_seed, "count": settings.glances}
    return [
        {"name": name, "task": task, **parts, **seeds, "path": str(folder.path / "glances" / name)}
        for name, task in settings.tasks.items()
    ]


def collect_task(
    name: str, task: Part, robot: Part, kinematics: Part, policy: Part, first_seed: int, episodes: int, path: str
) -> Iterator[dict[str, int]]:
    """The worker's job: what is there already, then one message an episode."""
    from robomem.cli.episode import run_episode
    from robomem.cli.session import build_session
    from robomem.data.recorder import EpisodeRecorder

    made_by = {"command": "collect", "commit": commit(), "robot": robot}
    session = build_session(task, robot, kinematics, policy)
    demonstrator: Any = session.inference

    def truth() -> Mapping[str, NDArray[Any]]:
        entities = session.robot.task.entities()
        goal = {"goal": np.asarray(demonstrator.goal), "goal_kind": np.asarray(demonstrator.goal_kind)}
        return {"entities": entities.pos, "visible": entities.visible, **goal}

    with open_store(Path(path), {"task": name, "robot": robot, "cameras": cameras_of(session.robot)}) as store:
        recorder = EpisodeRecorder(store, truth)
        infos = [store.info(number) for number in range(len(store))]
        there = {info["seed"]: info["success"] for info in infos}
        seeds = range(first_seed, first_seed + episodes)
        yield _message([there[seed] for seed in seeds if seed in there])
        for seed in seeds:
            if seed in there:
                continue
            try:
                outcome = run_episode(session, seed, [recorder], EXPERT_CHUNK_S)
            except PhysicsError as error:
                recorder.abort({"task": name, "seed": seed, "success": False, **made_by}, str(error))
                yield _message([False], new=1)
                continue
            info = {"task": name, "seed": seed, "instruction": session.robot.task.instruction, **outcome.as_summary()}
            recorder.finish({**info, **made_by})
            yield _message([outcome.success], new=1, ticks=outcome.counts["ticks"])


def cameras_of(robot: Any) -> dict[str, dict[str, Any]]:
    """Where each camera of `robot` is fixed and how it sees: notes of a store, so that places can be found in its
    pictures."""
    cameras = {name: asdict(robot.camera(name)) for name in robot.cameras}
    return {name: {**camera, "pose": list(camera["pose"])} for name, camera in cameras.items()}


def open_store(path: Path, meta: Mapping[str, Any]) -> Any:
    """The store at `path` to write to, made when there is none. Raises StoreError when it was made otherwise."""
    from robomem.data.layout import is_vacant
    from robomem.data.store import EpisodeStore

    if is_vacant(path):
        return EpisodeStore.create(path, meta)
    store = EpisodeStore.open(path, write=True)
    before, now = _flat(store.meta), _flat(meta)
    other = [
        f"{name} {before.get(name)}, not {now.get(name)}"
        for name in {**now, **before}
        if before.get(name) != now.get(name)
    ]
    if other:
        store.close()
        raise StoreError(f"{path} was collected with {'; '.join(other)}; choose another out=DIR")
    return store


def _flat(notes: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """Nested notes by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in notes.items():
        flat |= _flat(value, f"{within}{name}.") if isinstance(value, Mapping) else {within + name: value}
    return flat


def _message(successes: list[bool], new: int = 0, ticks: int = 0) -> dict[str, int]:
    return {"episodes": len(successes), "new": new, "successes": sum(successes), "ticks": ticks}
