"""Evaluates a policy on unseen seeds, under arms that say what its memory is worth.

`robomem eval task=all episodes=100`. Arms: memory (as trained), no_memory (its twin trained without), blank (emptied
before every step), swapped (another episode's). Each episode is kept in episodes.jsonl as it ends, so the same words
with the same out=DIR go on after an interruption.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robomem.cli.configuration import require_above_zero, require_at_least, require_weights
from robomem.cli.progress import Shown
from robomem.cli.runfolder import RunFolder, commit
from robomem.cli.workers import Job, run_jobs
from robomem.data.durable import cut_torn_line
from robomem.errors import UnknownName

Result = dict[str, Any]
EPISODES = "episodes.jsonl"


@dataclass
class Settings:
    """What is evaluated, on `episodes` seeds from `seed` up for every task and arm."""

    tasks: dict[str, Any]
    arms: dict[str, Any]
    robot: dict[str, Any]
    kinematics: dict[str, Any]
    policies: dict[str, Any]
    episodes: int
    seed: int
    workers: int
    minutes: float | None
    stories: int
    max_chunk_age_s: float
    delay_s: float

    def __post_init__(self) -> None:
        require_at_least(self, episodes=1, seed=0, workers=1, stories=0, delay_s=0)
        if self.minutes is not None and self.minutes <= 0:
            raise ValueError(f"minutes is {self.minutes}, expected more than 0, or null for no limit")
        require_above_zero(self, "max_chunk_age_s")
        require_weights({f"policy@policies.{name}": policy for name, policy in self.policies.items()})
        for arm, part in self.arms.items():
            if part["policy"] not in self.policies:
                raise UnknownName("policy", part["policy"], self.policies)
            if "memories_of" in part:
                self._require_keeper(arm, part["memories_of"])

    def _require_keeper(self, arm: str, keeper: str) -> None:
        """Raises ValueError unless `keeper` plays the policy of `arm`, which is given its memories, on its own."""
        if keeper not in self.arms:
            raise ValueError(f"arm '{arm}' is given the memories of arm '{keeper}': arm=[{keeper},{arm}]")
        if "memories_of" in self.arms[keeper]:
            raise ValueError(f"arm '{keeper}' is given memories itself and has none for arm '{arm}'")
        if self.arms[keeper]["policy"] != self.arms[arm]["policy"]:
            raise ValueError(f"arm '{arm}' is given the memories of arm '{keeper}', which plays another policy")

    @property
    def parts(self) -> dict[str, Any]:
        """What a worker builds."""
        names = ("tasks", "arms", "robot", "kinematics", "policies", "delay_s")
        return {name: getattr(self, name) for name in names}


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """Every episode that is not there yet, then results and report."""
    from robomem.report.values import EvalReport

    return evaluate(settings, folder, EvalReport)


def evaluate(settings: Settings, folder: RunFolder, report: Any) -> dict[str, Any]:
    """Plays, then writes what `report` makes of the rows, stories and facts; the results for summary.json."""
    from robomem.report.page import write_eval_report
    from robomem.report.statistics import results

    begun = time.monotonic()
    episodes = play_all(settings, folder)
    wall_s = time.monotonic() - begun
    rows = rows_of(settings, episodes)
    facts = {"commit": str(commit()), "seeds": f"{settings.seed} and up", "wall time": f"{wall_s:.0f} s"}
    page = report(tuple(rows), notes_of(settings), stories=stories_of(settings, folder), facts=facts)
    write_eval_report(folder.path / "report.html", page)
    for row in rows:
        at = f"{row.success.mean:4.0%}  ({row.success.low:.0%} to {row.success.high:.0%} of {row.episodes})"
        print(f"{row.task:14} {row.arm:10} {at}")
    return {"seed": settings.seed, "results": results(rows), "wall_s": wall_s}


def play_all(settings: Settings, folder: RunFolder) -> list[Result]:
    """All episodes asked for: those that an earlier call left in the folder, and the rest."""
    path = folder.path / EPISODES
    setups = {(task, arm): fingerprint(settings, task, arm) for task in settings.tasks for arm in settings.arms}
    asked = {(task, arm, seed) for task in settings.tasks for arm in settings.arms for seed in seeds_of(settings)}
    cut_torn_line(path)
    done = {key: result for key, result in _kept(path, setups) if key in asked}
    with (
        Shown({task: len(settings.arms) * settings.episodes for task in settings.tasks}) as shown,
        path.open("a") as log,
    ):
        for task in settings.tasks:
            shown.advance(task, steps=sum(key[0] == task for key in done))
        for _, result in run_jobs("robomem.cli.playing:play", jobs(settings, folder, set(done)), settings.workers):
            log.write(json.dumps({"setup": setups[result["task"], result["arm"]], **result}) + "\n")
            log.flush()
            done[result["task"], result["arm"], result["seed"]] = result
            shown.advance(result["task"], _note(settings, result["task"], list(done.values())))
    return list(done.values())


def seeds_of(settings: Settings) -> range:
    """The seeds to evaluate."""
    return range(settings.seed, settings.seed + settings.episodes)


def jobs(settings: Settings, folder: RunFolder, done: set[tuple[str, str, int]]) -> Iterator[Job]:
    """Pairs of seeds for every task in turn, until the time is up."""
    deadline = time.monotonic() + 60 * (settings.minutes or float("inf"))
    stories = folder.path / "stories"
    stories.mkdir(exist_ok=True)
    shared = {"parts": settings.parts, "max_chunk_age_s": settings.max_chunk_age_s, "folder": str(stories)}
    told = [(next(iter(settings.arms)), seed) for seed in seeds_of(settings)[: settings.stories]]
    for first in seeds_of(settings)[::2]:
        pair = [first, first + 1]
        for name in settings.tasks:
            seeds = [seed for seed in pair if seed in seeds_of(settings)]
            wanted = [(arm, seed) for arm in settings.arms for seed in seeds if (name, arm, seed) not in done]
            if wanted and time.monotonic() < deadline:
                yield {"name": name, "seeds": pair, "wanted": wanted, "told": told, **shared}


def fingerprint(settings: Settings, task: str, arm: str) -> str:
    """16 hexadecimal digits that change with anything that decides an episode of `task` under `arm`: the parts, and
    every file they name (weights, the robot's geometry)."""
    policy = settings.policies[settings.arms[arm]["policy"]]
    parts = [settings.tasks[task], settings.arms[arm], policy, settings.robot, settings.kinematics]
    sha256 = hashlib.sha256(json.dumps([*parts, settings.max_chunk_age_s, settings.delay_s]).encode())
    for named in (value for part in parts for value in part.values() if isinstance(value, str)):
        if Path(named).is_file():
            sha256.update(Path(named).read_bytes())
    return sha256.hexdigest()[:16]


def rows_of(settings: Settings, episodes: list[Result]) -> list[Any]:
    """One row for every task and arm."""
    from robomem.report.statistics import eval_row

    rows = []
    for task in settings.tasks:
        for arm, part in settings.arms.items():
            some = [episode for episode in episodes if (episode["task"], episode["arm"]) == (task, arm)]
            columns = [[episode[key] for episode in some] for key in ("success", "score", "ticks")]
            method = settings.policies[part["policy"]]["_target_"].split(".")[1]
            rows.append(eval_row(task, method, arm, *columns))
    return rows


def notes_of(settings: Settings) -> tuple[Any, ...]:
    """What the page says of each task: its own words."""
    import inspect

    from hydra.utils import get_class

    from robomem.report.values import TaskNote

    classes: dict[str, Any] = {name: get_class(part["_target_"]) for name, part in settings.tasks.items()}
    return tuple(
        TaskNote(name, name.replace("_", " ").capitalize(), inspect.getdoc(inspect.getmodule(made)) or "", made.chance)
        for name, made in classes.items()
    )


def stories_of(settings: Settings, folder: RunFolder) -> tuple[Any, ...]:
    """The episodes that were told, one after another task."""
    from robomem.cli.story import load_story

    arm = next(iter(settings.arms))
    names = [f"{task}_{arm}_{seed}.npz" for task in settings.tasks for seed in seeds_of(settings)[: settings.stories]]
    return tuple(load_story(path) for name in names if (path := folder.path / "stories" / name).exists())


def _kept(path: Path, setups: dict[tuple[str, str], str]) -> Iterator[tuple[tuple[str, str, int], Result]]:
    """Episodes of the same setup, by (task, arm), that an earlier call left."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            result = json.loads(line)
        except ValueError:
            continue
        if result.pop("setup") == setups.get((result["task"], result["arm"])):
            yield (result["task"], result["arm"], result["seed"]), result


def _note(settings: Settings, task: str, episodes: list[Result]) -> str:
    """Successes so far, by arm."""
    words = []
    for arm in settings.arms:
        some = [episode["success"] for episode in episodes if (episode["task"], episode["arm"]) == (task, arm)]
        words.append(f"{arm} {sum(some)}/{len(some)}")
    return "  ".join(words)
