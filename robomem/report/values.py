"""What a report shows, as plain frozen values, filled in by whoever ran something.

Every text is shown as text: markup in an instruction stays visible as typed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from robomem.types import FloatArray, Frame, Image

NO_PICTURE: Image = np.full((8, 8, 3), 128, dtype=np.uint8)


def _check_image(name: str, image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"{name} is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")


def _check_length(name: str, values: Sequence[object] | NDArray[np.generic], expected: int) -> None:
    if len(values) != expected:
        raise ValueError(f"{name} has {len(values)} entries, expected {expected}")


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.mean <= self.high:
            raise ValueError(f"mean {self.mean} is outside its interval {self.low} to {self.high}")


@dataclass(frozen=True)
class EvalRow:
    """Result of one policy on one task under one arm of the comparison; `success` is a rate, `score` partial credit."""

    task: str
    policy: str
    arm: str
    episodes: int
    success: Estimate
    score: Estimate
    steps_mean: float


@dataclass(frozen=True)
class RunRow:
    """Success by task of one `run`, a training seed say, under one arm; `is_median` marks the run in the middle."""

    run: str
    arm: str
    success: Mapping[str, Estimate]
    mean: float
    is_median: bool


@dataclass(frozen=True)
class MethodRow:
    """Success by task, and "mean" over tasks, of a method that was trained `runs` times; `more`, if it was compared:
    how much more than the first method's."""

    method: str
    runs: int
    success: Mapping[str, Estimate]
    more: Mapping[str, Estimate] = field(default_factory=dict)

    def plain(self) -> dict[str, object]:
        """Plain values, for summary.json."""
        return asdict(self)


@dataclass(frozen=True)
class TaskNote:
    """What a reader must know of a task: why it needs memory, and the success rate `chance` of an arm that has none."""

    task: str
    title: str
    why: str = ""
    chance: float | None = None


@dataclass(frozen=True, eq=False)
class EntryView:
    """One memory entry: it holds `count` merged moments seen from `t_start` to `t_end` [s].

    `thumbnail` uint8 (h, w, 3); `attention` 0..1 is its share of the latest read.
    """

    t_start: float
    t_end: float
    count: int
    thumbnail: Image
    attention: float

    def __post_init__(self) -> None:
        _check_image("thumbnail", self.thumbnail)
        if not self.t_start <= self.t_end:
            raise ValueError(f"entry spans {self.t_start} s to {self.t_end} s, expected a rising span")
        if self.count < 1:
            raise ValueError(f"count is {self.count}, expected at least 1")
        if not 0.0 <= self.attention <= 1.0 + 1e-6:
            raise ValueError(f"attention is {self.attention}, expected 0 to 1")


class HeldEntry(Protocol):
    """A memory entry as robomem.memory shows it: times [s], steps merged, share of the last read, picture if any."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def count(self) -> int: ...
    @property
    def attention(self) -> float: ...
    @property
    def thumbnail(self) -> Image | None: ...


@dataclass(frozen=True, eq=False)
class MemorySnapshot:
    """The memory at one policy step, at `t` [s]: the entries held, oldest first, and what the cameras saw.

    `images` camera name -> uint8 (h, w, 3).
    """

    t: float
    entries: tuple[EntryView, ...]
    images: Mapping[str, Image] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, image in self.images.items():
            _check_image(f"image '{name}'", image)

    @classmethod
    def of(cls, t: float, entries: Sequence[HeldEntry], images: Mapping[str, Image]) -> Self:
        """The snapshot of `MemoryState.entries()`; an entry without a picture is shown grey."""
        views = (
            EntryView(
                entry.start,
                entry.end,
                entry.count,
                NO_PICTURE if entry.thumbnail is None else entry.thumbnail,
                min(max(entry.attention, 0.0), 1.0),
            )
            for entry in entries
        )
        return cls(t, tuple(views), images)


@dataclass(frozen=True, eq=False)
class EpisodeStory:
    """One episode to look at.

    `frames` are the pictures of its video, uint8 (H, W, 3), `frame_hz` a second, the first at `t_first` [s].
    `snapshots` rise in time. `events` are (t [s], what happened). `success` None: nobody judged it.
    """

    task: str
    instruction: str
    arm: str
    success: bool | None
    score: float | None = None
    seed: int | None = None
    frames: Sequence[Image] = ()
    frame_hz: float = 20.0
    t_first: float = 0.0
    events: tuple[tuple[float, str], ...] = ()
    snapshots: tuple[MemorySnapshot, ...] = ()

    def __post_init__(self) -> None:
        if not self.frame_hz > 0:
            raise ValueError(f"frame_hz is {self.frame_hz}, expected more than 0")
        for frame in self.frames:
            _check_image("frame", frame)
        times = [snapshot.t for snapshot in self.snapshots]
        if any(later <= sooner for sooner, later in pairwise(times)):
            raise ValueError(f"snapshot times must rise, got {times}")


@dataclass(frozen=True, eq=False)
class EvalReport:
    """Results of an evaluation. `facts` name -> value says how they were made (commit, seeds, wall time, ...)."""

    rows: tuple[EvalRow, ...]
    tasks: tuple[TaskNote, ...] = ()
    stories: tuple[EpisodeStory, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    title: str = "Evaluation"
    lead: str = ""


@dataclass(frozen=True, eq=False)
class DemoReport(EvalReport):
    """The page that `make demo` ends in: an evaluation with an episode of every task."""

    title: str = "An arm that remembers"


@dataclass(frozen=True, eq=False)
class CompareReport:
    """Evaluations side by side."""

    rows: tuple[RunRow, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    title: str = "Side by side"
    lead: str = "Success on the same tasks, run by run. The median is by the mean over the tasks."
    methods: tuple[MethodRow, ...] = ()


@dataclass(frozen=True, eq=False)
class Curve:
    """One named line of a training plot: `values` (n,) at training steps `steps` (n,)."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        _check_length(f"curve '{self.name}': values", self.values, len(self.steps))


@dataclass(frozen=True, eq=False)
class TrainReport:
    """A training run: `losses` by name, and `success` (rates 0..1) by task, both over training steps."""

    losses: tuple[Curve, ...]
    success: tuple[Curve, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    title: str = "Training"
    lead: str = ""


@dataclass(frozen=True, eq=False)
class RunReport:
    """One episode under the loop, tick by tick.

    `t` (T,) [s]; `wanted` and `sent` (T, n) [rad]; `gripper` (T,) as sent, 0..1; `late_s` (T,) [s]; `starved` and
    `human` (T,) bool; `refused` (t [s], why).
    """

    story: EpisodeStory
    t: FloatArray
    wanted: FloatArray
    sent: FloatArray
    gripper: FloatArray
    late_s: FloatArray
    starved: NDArray[np.bool_]
    human: NDArray[np.bool_]
    refused: tuple[tuple[float, str], ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    title: str = "One episode"
    lead: str = ""

    def __post_init__(self) -> None:
        for name in ("wanted", "sent", "gripper", "late_s", "starved", "human"):
            _check_length(name, getattr(self, name), len(self.t))

    @classmethod
    def of(cls, story: EpisodeStory, frames: Sequence[Frame], facts: Mapping[str, str] | None = None) -> Self:
        """The report on `frames` as the loop recorded them."""
        joints = len(frames[0].sent.joint_pos) if frames else 0
        return cls(
            story=story,
            t=np.array([frame.obs.t for frame in frames], dtype=np.float64),
            wanted=np.array([frame.wanted.joint_pos for frame in frames], dtype=np.float64).reshape(
                len(frames), joints
            ),
            sent=np.array([frame.sent.joint_pos for frame in frames], dtype=np.float64).reshape(len(frames), joints),
            gripper=np.array([frame.sent.gripper for frame in frames], dtype=np.float64),
            late_s=np.array([frame.late_s for frame in frames], dtype=np.float64),
            starved=np.array([frame.starved for frame in frames], dtype=np.bool_),
            human=np.array([frame.source == "human" for frame in frames], dtype=np.bool_),
            refused=tuple((frame.obs.t, frame.refused) for frame in frames if frame.refused),
            facts=dict(facts or {}),
        )
