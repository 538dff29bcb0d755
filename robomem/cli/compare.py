"""Sets evaluations side by side: those of several training seeds, say, and which of them is the median.

`robomem compare evals=[outputs/eval/a,outputs/eval/b,outputs/eval/c]`. Each folder is one that `robomem eval` wrote; it
goes by its name. Reads their summary.json and plays nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robomem.cli.configuration import BadSetting
from robomem.cli.runfolder import FolderError, RunFolder, commit


@dataclass
class Settings:
    """The folders to compare, and `median_by`, the arm by whose mean success over the tasks the median is chosen."""

    evals: list[str]
    median_by: str

    def __post_init__(self) -> None:
        names = [Path(folder).name for folder in self.evals]
        if not names:
            raise ValueError("evals is empty, expected folders of robomem eval: evals=[DIR,DIR,...]")
        if len(set(names)) < len(names):
            raise ValueError(f"evals go by their folders' names, expected different ones, got: {', '.join(names)}")


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """One row for every evaluation and arm: success by task, and the mean over tasks."""
    from robomem.report.page import write_compare_report
    from robomem.report.statistics import median_table
    from robomem.report.values import CompareReport

    runs = {Path(path).name: rows_in(Path(path)) for path in settings.evals}
    try:
        table = median_table(runs, settings.median_by)
    except ValueError as error:
        raise BadSetting(str(error)) from None
    write_compare_report(
        folder.path / "report.html", CompareReport(table, {"commit": str(commit()), "median by": settings.median_by})
    )
    for row in table:
        success = "  ".join(f"{task} {estimate.mean:.0%}" for task, estimate in row.success.items())
        print(f"{row.run:14} {row.arm:10} {success}  mean {row.mean:.1%}{'  median' if row.is_median else ''}")
    return {"median": next(row.run for row in table if row.is_median), "means": means_of(table)}


def rows_in(path: Path) -> list[Any]:
    """The rows of the evaluation in `path`. Raises FolderError when it holds none."""
    from robomem.report.statistics import rows_from

    try:
        return rows_from(json.loads((path / "summary.json").read_text())["results"])
    except (OSError, ValueError, KeyError, TypeError):
        raise FolderError(f"{path} holds no results; expected a folder of robomem eval that has ended") from None


def means_of(table: Any) -> dict[str, dict[str, float]]:
    """Evaluation -> arm -> mean success over tasks."""
    means: dict[str, dict[str, float]] = {}
    for row in table:
        means.setdefault(row.run, {})[row.arm] = row.mean
    return means
