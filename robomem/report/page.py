"""Reports as one HTML file each: it opens from disk, asks the network for nothing, and shows all text as text."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robomem.report.pictures import data_uri
from robomem.report.plots import commands_svg, curves_svg, lateness_svg
from robomem.report.timeline import Timeline, timeline
from robomem.report.values import CompareReport, EpisodeStory, EvalReport, EvalRow, RunReport, TaskNote, TrainReport
from robomem.report.video import webm

ARMS = {
    "memory": "the policy as it was trained",
    "no_memory": "its twin, trained without a memory: same size, data and steps",
    "blank": "the same policy, its memory emptied before every step",
    "swapped": "the same policy, reading the memory of another episode",
}
MOST_REFUSED = 20


@dataclass(frozen=True)
class _TaskView:
    """One task's card: its rows, and the two that the headline compares."""

    title: str
    why: str
    chance: float | None
    rows: tuple[EvalRow, ...]

    @property
    def hero(self) -> EvalRow | None:
        return next((row for row in self.rows if row.arm == "memory"), None)

    @property
    def rival(self) -> EvalRow | None:
        return next((row for row in self.rows if row.arm == "no_memory"), None)


@dataclass(frozen=True)
class _StoryView:
    title: str
    story: EpisodeStory
    timeline: Timeline | None
    video: str


def write_eval_report(path: Path, report: EvalReport) -> None:
    """Write an evaluation's results, and its episodes where there are any, at `path`."""
    titles = {note.task: note.title for note in report.tasks}
    arms = dict.fromkeys(row.arm for row in report.rows)
    _write(
        path,
        "eval.html",
        report=report,
        tasks=_task_views(report.rows, report.tasks),
        stories=[_story_view(story, titles.get(story.task, _title(story.task))) for story in report.stories],
        arms={arm: ARMS[arm] for arm in ARMS if arm in arms} if len(arms) > 1 else {},
        has_memory="memory" in arms and len(arms) > 1,
    )


def write_compare_report(path: Path, report: CompareReport) -> None:
    """Write evaluations side by side at `path`."""
    _write(path, "compare.html", report=report)


def write_train_report(path: Path, report: TrainReport) -> None:
    """Write loss curves and success over training at `path`."""
    plots = []
    if report.losses:
        plots.append(("Loss", report.losses, _markup(curves_svg(report.losses))))
    if report.success:
        plots.append(("Success in simulation", report.success, _markup(curves_svg(report.success, rate=True))))
    _write(path, "train.html", report=report, plots=plots)


def write_run_report(path: Path, report: RunReport) -> None:
    """Write one episode at `path`: video, memory, commands, lateness."""
    late_us = report.late_s * 1e6
    _write(
        path,
        "run.html",
        report=report,
        view=_story_view(report.story, _title(report.story.task)),
        commands=_markup(commands_svg(report)),
        lateness=_markup(lateness_svg(report.late_s)),
        counts={
            "starved": int(report.starved.sum()),
            "refused": len(report.refused),
            "held by a person": int(report.human.sum()),
            "late by, median": f"{np.median(late_us):.0f} µs" if len(late_us) else "no ticks",
            "late by, 99 %": f"{np.percentile(late_us, 99):.0f} µs" if len(late_us) else "no ticks",
            "late by, worst": f"{late_us.max():.0f} µs" if len(late_us) else "no ticks",
        },
        most_refused=MOST_REFUSED,
    )


def _title(task: str) -> str:
    return task.replace("_", " ").capitalize()


def _task_views(rows: Sequence[EvalRow], notes: Sequence[TaskNote]) -> list[_TaskView]:
    by_name = {note.task: note for note in notes}
    views = []
    for task in dict.fromkeys(row.task for row in rows):
        note = by_name.get(task, TaskNote(task, _title(task)))
        views.append(_TaskView(note.title, note.why, note.chance, tuple(row for row in rows if row.task == task)))
    return views


def _story_view(story: EpisodeStory, title: str) -> _StoryView:
    video = webm(story.frames, story.frame_hz)
    return _StoryView(title, story, timeline(story), data_uri("video/webm", video) if video else "")


def _markup(text: str) -> Markup:
    """Text of our own making, to stand in the page as it is."""
    return Markup(text)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("robomem.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def _write(path: Path, template: str, **values: object) -> None:
    script = _asset("timeline.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = (
        _environment()
        .get_template(template)
        .render(script=_markup(script), script_hash=f"sha256-{digest}", style=_markup(_asset("style.css")), **values)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
