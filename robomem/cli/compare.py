"""Sets evaluations side by side: the training seeds of one method, and which is the median; or several methods.

`robomem compare evals=[a,b,c]`, or with several training seeds of each method, the same ones in the same order,
`robomem compare evals={ours:[a,b,c],theirs:[d,e,f]}`: each is compared with the first. Each folder is one that
`robomem eval` wrote. Reads what they hold and plays nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robomem.cli.configuration import BadSetting
from robomem.cli.eval import EPISODES
from robomem.cli.runfolder import FolderError, RunFolder, commit


@dataclass
class Settings:
    """The folders to compare, a list or by method, and `by_arm`, the arm that is compared; by its mean success over the
    tasks the median is chosen."""

    evals: Any  # list[str] | dict[str, list[str]], which structured settings cannot say
    by_arm: str

    def __post_init__(self) -> None:
        lists = list(self.evals.values()) if isinstance(self.evals, dict) else [self.evals]
        if not lists or not all(isinstance(paths, list) and paths and _are_texts(paths) for paths in lists):
            raise ValueError(f"evals is {self.evals}, expected folders of robomem eval: evals=[DIR,DIR,...]")
        every = [Path(path).resolve() for paths in lists for path in paths]
        if len(set(every)) < len(every):
            raise ValueError("evals has a folder twice")

    @property
    def methods(self) -> dict[str, list[Path]]:
        """Folders by method; those of a bare list are of a method without a name."""
        lists = self.evals if isinstance(self.evals, dict) else {"": self.evals}
        return {method: [Path(path) for path in paths] for method, paths in lists.items()}


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """One row for every evaluation and arm: success by task, and the mean over tasks; and one for every method."""
    from robomem.report.page import write_compare_report
    from robomem.report.statistics import median_table, methods_table
    from robomem.report.values import CompareReport

    called = called_by([path for paths in settings.methods.values() for path in paths])
    try:
        tables = {
            method: median_table({called[path]: rows_in(path) for path in paths}, settings.by_arm)
            for method, paths in settings.methods.items()
        }
        by_method = settings.methods if isinstance(settings.evals, dict) else {}
        of_each = {name: [successes_in(path, settings.by_arm) for path in paths] for name, paths in by_method.items()}
        methods = methods_table(of_each) if of_each else ()
    except ValueError as error:
        raise BadSetting(str(error)) from None
    table = tuple(row for rows in tables.values() for row in rows)
    facts = {"commit": str(commit()), "arm": settings.by_arm}
    write_compare_report(folder.path / "report.html", CompareReport(table, facts, methods=methods))
    for row in table:
        success = "  ".join(f"{task} {estimate.mean:.0%}" for task, estimate in row.success.items())
        print(f"{row.run:14} {row.arm:10} {success}  mean {row.mean:.1%}{'  median' if row.is_median else ''}")
    for of in methods:
        print(f"\n{of.method}, {of.runs} {'run' if of.runs == 1 else 'runs'}")
        for task, estimate in of.success.items():
            print(f"  {task:14} {_told(estimate)}%" + (f"   {_told(of.more[task], '+')} points" if of.more else ""))
    medians = {method: next(row.run for row in rows if row.is_median) for method, rows in tables.items()}
    if not methods:
        return {"median": medians[""], "means": means_of(table)}
    return {"medians": medians, "means": means_of(table), "methods": [of.plain() for of in methods]}


def called_by(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each of different folders: the end of its path, as much of it as tells them apart."""
    whole = {path: path.resolve().parts for path in paths}
    for parts in range(1, max(map(len, whole.values())) + 1):
        names = {path: "/".join(of[-parts:]) for path, of in whole.items()}
        if len(set(names.values())) == len(names):
            break
    return names


def rows_in(path: Path) -> list[Any]:
    """The rows of the evaluation in `path`. Raises FolderError when it holds none."""
    from robomem.report.statistics import rows_from

    try:
        return rows_from(json.loads((path / "summary.json").read_text())["results"])
    except (OSError, ValueError, KeyError, TypeError):
        raise FolderError(f"{path} holds no results; expected a folder of robomem eval that has ended") from None


def successes_in(path: Path, arm: str) -> dict[str, dict[int, bool]]:
    """Task -> seed -> success of the episodes in `path` that `arm` played. Raises FolderError when they are not those
    that its summary counts."""
    episodes: dict[str, dict[int, bool]] = {}
    for line in (path / EPISODES).read_text(encoding="utf-8").splitlines() if (path / EPISODES).exists() else ():
        try:
            result = json.loads(line)
        except ValueError:
            continue  # torn: the episode was played again
        if result["arm"] == arm:  # a later line is of a later setup
            episodes.setdefault(result["task"], {})[result["seed"]] = bool(result["success"])
    for row in rows_in(path):
        some = episodes.get(row.task, {})
        if row.arm == arm and (len(some), sum(some.values())) != (row.episodes, round(row.success.mean * row.episodes)):
            raise FolderError(f"{path}: {EPISODES} and summary.json do not tell of the same episodes; evaluate anew")
    return episodes


def means_of(table: Any) -> dict[str, dict[str, float]]:
    """Evaluation -> arm -> mean success over tasks."""
    means: dict[str, dict[str, float]] = {}
    for row in table:
        means.setdefault(row.run, {})[row.arm] = row.mean
    return means


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _told(of: Any, sign: str = "") -> str:
    low, mean, high = (f"{100 * value:{sign}.1f}" for value in (of.low, of.mean, of.high))
    return f"{mean} ({low} to {high})"
