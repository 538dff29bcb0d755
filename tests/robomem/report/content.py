"""A small episode with a memory that fills up and merges, for the report's tests."""

import numpy as np

from robomem.report.statistics import eval_row
from robomem.report.values import EntryView, EpisodeStory, EvalReport, MemorySnapshot, TaskNote
from robomem.types import Image


def picture(shade: int, height: int = 24, width: int = 32) -> Image:
    """A flat grey picture with a lighter corner."""
    image = np.full((height, width, 3), shade % 256, dtype=np.uint8)
    image[:4, :4] = 255
    return image


def snapshots(n_steps: int = 6, slots: int = 3, period: float = 0.5) -> tuple[MemorySnapshot, ...]:
    """One write a step; over `slots` entries, the two oldest merge."""
    held: list[EntryView] = []
    steps = []
    for k in range(n_steps):
        t = k * period
        steps.append(MemorySnapshot(t, tuple(held), {"front": picture(20 * k), "wrist": picture(20 * k + 7)}))
        held.append(EntryView(t, t, 1, picture(20 * k), 1 / (k + 1)))
        if len(held) > slots:
            first, second = held[:2]
            held[:2] = [EntryView(first.t_start, second.t_end, first.count + second.count, first.thumbnail, 0.5)]
    return tuple(steps)


def story(instruction: str = "push the green button, then the red one", **changes: object) -> EpisodeStory:
    """An episode of three seconds at ten frames a second."""
    values: dict[str, object] = {
        "task": "push_buttons",
        "instruction": instruction,
        "arm": "memory",
        "success": True,
        "score": 1.0,
        "seed": 50_000,
        "frames": tuple(picture(8 * k, 48, 64) for k in range(30)),
        "frame_hz": 10.0,
        "events": ((1.2, "pressed green"), (1.3, "pressed red")),
        "snapshots": snapshots(),
    }
    return EpisodeStory(**{**values, **changes})  # type: ignore[arg-type]


def evaluation(**changes: object) -> EvalReport:
    """Two arms on one task, and its episode."""
    rows = (
        eval_row("push_buttons", "memoryvla", "memory", [True] * 19 + [False], [1.0] * 19 + [0.5], [200] * 20),
        eval_row(
            "push_buttons", "memoryvla", "no_memory", [True] * 6 + [False] * 14, [1.0] * 6 + [0.3] * 14, [240] * 20
        ),
    )
    values: dict[str, object] = {
        "rows": rows,
        "tasks": (TaskNote("push_buttons", "Push buttons", "pressed looks like unpressed", 1 / 3),),
        "stories": (story(),),
        "facts": {"commit": "abc1234"},
    }
    return EvalReport(**{**values, **changes})  # type: ignore[arg-type]
