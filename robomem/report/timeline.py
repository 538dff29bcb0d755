"""The memory of an episode as a picture: what was held at every step, when it was written, merged and looked at.

The map has the time of the episode along x and the time that is remembered along y. A memory is a bar: it starts on the
diagonal, where it was written, and goes on to the right for as long as it is held; two bars that join are a merge.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from robomem.report.pictures import Sheet, png, shrink, webp
from robomem.report.values import EntryView, EpisodeStory, MemorySnapshot
from robomem.types import Image

THUMBNAIL_PX = 96
CAMERA_PX = 160
STRIP_PX = 64
PICTURES_ALONG_X, PICTURES_ALONG_Y = 12, 6
GLOW_RGB = (247, 107, 21)  # the page's --glow: attention, in both light and dark
MAP_ROWS = 240  # height of the attention picture [px]
SEVERAL = 4
LABEL_PADDING, LABEL_PER_LETTER = 0.02, 0.0062  # width of an event's label, as a share of the map at full page width


@dataclass(frozen=True)
class Bar:
    """One memory while it did not change: held from x to x + width, of y to y + height (0..1 of the map, y down)."""

    x: float
    y: float
    width: float
    height: float
    merged: bool
    t_start: float
    t_end: float
    count: int


@dataclass(frozen=True)
class Mark:
    """A labelled time on the map, 0..1; labels that would overlap are in different lanes, `leftward` ones end at x."""

    x: float
    text: str
    lane: int = 0
    leftward: bool = False


@dataclass(frozen=True)
class Timeline:
    """All that the template draws; `steps` is the JSON that the page's script reads."""

    steps: Markup
    thumbnails: Sheet
    cameras: Sheet
    camera_names: tuple[str, ...]
    bars: tuple[Bar, ...]
    attention: str
    events: tuple[Mark, ...]
    ticks: tuple[Mark, ...]
    row: tuple[str, ...]
    column: tuple[str, ...]
    n_merges: int
    n_most: int

    @property
    def lanes(self) -> int:
        """Rows of event labels."""
        return max((mark.lane for mark in self.events), default=0) + 1


def timeline(story: EpisodeStory) -> Timeline | None:
    """The timeline of `story`; None when it has no snapshots."""
    snapshots = story.snapshots
    if not snapshots:
        return None
    period = _period(snapshots)
    first, last = snapshots[0].t, snapshots[-1].t + period
    thumbnails, cameras = Sheet(THUMBNAIL_PX), Sheet(CAMERA_PX)
    names = tuple(snapshots[0].images)
    bars = _bars(snapshots, first, last, period)
    return Timeline(
        steps=_script_json(_steps(story, thumbnails, cameras, names, period)),
        thumbnails=thumbnails,
        cameras=cameras,
        camera_names=names,
        bars=bars,
        attention=png(_attention(snapshots, first, last, period)),
        events=_events(story, first, last),
        ticks=_ticks(first, last),
        row=_pictures(snapshots, first, last, PICTURES_ALONG_X),
        column=_pictures(snapshots, first, last, PICTURES_ALONG_Y)[::-1],
        n_merges=sum(bar.merged for bar in bars),
        n_most=max(len(snapshot.entries) for snapshot in snapshots),
    )


def _period(snapshots: Sequence[MemorySnapshot]) -> float:
    """Typical time between policy steps [s]: how long a moment lasts on the map."""
    gaps = np.diff([snapshot.t for snapshot in snapshots])
    return float(np.median(gaps)) if len(gaps) else 1.0


def _identity(entry: EntryView) -> tuple[float, float, int]:
    return (entry.t_start, entry.t_end, entry.count)


def _steps(
    story: EpisodeStory, thumbnails: Sheet, cameras: Sheet, names: Sequence[str], period: float
) -> dict[str, object]:
    """What the script reads; an entry is [t_start, t_end, count, thumbnail, attention, "" | "new" | "merged"]."""
    before: set[tuple[float, float, int]] = set()
    steps = []
    for snapshot in story.snapshots:
        entries = [
            [
                round(entry.t_start, 3),
                round(entry.t_end, 3),
                entry.count,
                thumbnails.add(entry.thumbnail),
                round(entry.attention, 4),
                "" if _identity(entry) in before else "merged" if entry.count > 1 else "new",
            ]
            for entry in snapshot.entries
        ]
        pictures = [cameras.add(snapshot.images[name]) for name in names if name in snapshot.images]
        steps.append({"t": round(snapshot.t, 3), "pictures": pictures, "entries": entries})
        before = {_identity(entry) for entry in snapshot.entries}
    events = [[round(t, 3), text] for t, text in story.events]
    return {
        "videoStart": story.t_first,
        "period": period,
        "strongest": _strongest(story.snapshots),
        "steps": steps,
        "events": events,
    }


def _bars(snapshots: Sequence[MemorySnapshot], first: float, last: float, period: float) -> tuple[Bar, ...]:
    """One bar for every stretch of steps over which an entry stayed as it was."""
    length = last - first
    edges = [*(snapshot.t for snapshot in snapshots), last]
    open_since: dict[tuple[float, float, int], float] = {}
    bars = []
    for i in range(len(snapshots) + 1):
        held = {_identity(entry) for entry in snapshots[i].entries} if i < len(snapshots) else set()
        for identity in [known for known in open_since if known not in held]:
            t_start, t_end, count = identity
            since = open_since.pop(identity)
            bars.append(
                Bar(
                    x=(since - first) / length,
                    y=1 - (t_end + period - first) / length,
                    width=(edges[i] - since) / length,
                    height=(t_end + period - t_start) / length,
                    merged=count > 1,
                    t_start=t_start,
                    t_end=t_end,
                    count=count,
                )
            )
        for identity in held:
            open_since.setdefault(identity, edges[i])
    return tuple(sorted(bars, key=lambda bar: (bar.x, -bar.y)))


def _strongest(snapshots: Sequence[MemorySnapshot]) -> float:
    """Attention that is drawn in full colour: the most, among steps that had several entries to choose from."""
    several = min(SEVERAL, max(len(snapshot.entries) for snapshot in snapshots))
    choices = [entry.attention for shot in snapshots if len(shot.entries) >= several for entry in shot.entries]
    return max(choices, default=0.0) or 1.0


def _attention(snapshots: Sequence[MemorySnapshot], first: float, last: float, period: float) -> Image:
    """Attention as opacity, uint8 (MAP_ROWS, n, 4): a column a period, rows are the time remembered, latest on top."""
    times = np.array([snapshot.t for snapshot in snapshots])
    columns = first + period * np.arange(max(1, round((last - first) / period)))
    latest = np.searchsorted(times, columns + period / 2, side="right") - 1
    shares = np.zeros((MAP_ROWS, len(columns)))
    for column, k in enumerate(latest):
        for entry in snapshots[k].entries:
            top = round((1 - (entry.t_end + period - first) / (last - first)) * MAP_ROWS)
            bottom = round((1 - (entry.t_start - first) / (last - first)) * MAP_ROWS)
            shares[max(top, 0) : max(bottom, top + 1), column] = entry.attention
    picture = np.zeros((*shares.shape, 4), dtype=np.uint8)
    picture[..., :3] = GLOW_RGB
    picture[..., 3] = np.round(255 * np.minimum(1.0, shares / _strongest(snapshots)))
    return picture


def _events(story: EpisodeStory, first: float, last: float) -> tuple[Mark, ...]:
    """The events, each in the first lane where its label is free of the one before."""
    marks: list[Mark] = []
    lane_ends: list[float] = []
    for t, text in sorted(story.events):
        x, width = (t - first) / (last - first), LABEL_PADDING + LABEL_PER_LETTER * len(text)
        if not 0 <= x <= 1:
            continue
        leftward = x + width > 1
        start, end = (x - width, x) if leftward else (x, x + width)
        lane = next((i for i, taken in enumerate(lane_ends) if taken <= start), len(lane_ends))
        lane_ends[lane : lane + 1] = [end]
        marks.append(Mark(x, text, lane, leftward))
    return tuple(marks)


def _ticks(first: float, last: float) -> tuple[Mark, ...]:
    """Round times over the map, five to ten of them."""
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1e9) if (last - first) / s <= 9)
    times = np.arange(np.ceil(first / step), np.floor(last / step) + 1) * step
    return tuple(Mark(float((t - first) / (last - first)), f"{t:g}") for t in times)


def _pictures(snapshots: Sequence[MemorySnapshot], first: float, last: float, n: int) -> tuple[str, ...]:
    """What the first camera saw in the middle of each of `n` equal parts of the episode."""
    seen = [(shot.t, next(iter(shot.images.values()))) for shot in snapshots if shot.images]
    if not seen:
        return ()
    middles = first + (last - first) * (np.arange(n) + 0.5) / n
    picks = np.searchsorted([t for t, _ in seen], middles, side="right") - 1
    return tuple(webp(shrink(seen[max(i, 0)][1], STRIP_PX)) for i in picks)


def _script_json(value: object) -> Markup:
    """JSON that may stand inside a <script> element, whatever text it holds."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
