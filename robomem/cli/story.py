"""Watches an episode for the report: its video, its memory at every policy step, and what happened."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from robomem.report.values import EntryView, EpisodeStory, MemorySnapshot
from robomem.types import Frame, Image

VIDEO_HZ = 10.0
VIDEO_PX = (400, 300)  # width, height


class Storyteller:
    """A sink. `inference.memory`, where there is one, is looked at whenever it has moved on."""

    def __init__(self, robot: Any, inference: Any, camera: str = "front") -> None:
        self._robot, self._inference, self._camera = robot, inference, camera
        self._pictures: list[Image] = []
        self._snapshots: list[MemorySnapshot] = []
        self._step: int | None = None

    def append(self, frame: Frame) -> None:
        """Paint a picture when one is due, and note the memory."""
        if frame.obs.t >= len(self._pictures) / VIDEO_HZ - 1e-6:
            self._pictures.append(self._robot.picture(self._camera, *VIDEO_PX))
        memory = getattr(self._inference, "memory", None)
        if memory is not None and memory.step != self._step:
            self._step = memory.step
            self._snapshots.append(MemorySnapshot.of(frame.obs.t, memory.entries(), frame.obs.images))

    def story(self, arm: str, seed: int) -> EpisodeStory:
        """The episode, after its end."""
        task = self._robot.task
        return EpisodeStory(
            task=task.name,
            instruction=task.instruction,
            arm=arm,
            success=bool(task.success()),
            score=float(task.score()),
            seed=seed,
            frames=tuple(self._pictures),
            frame_hz=VIDEO_HZ,
            events=tuple((event.t, event.what) for event in task.events),
            snapshots=tuple(self._snapshots),
        )


def save_story(path: Path, story: EpisodeStory) -> None:
    """Write `story` to an .npz file of plain arrays."""
    plain = {f.name: getattr(story, f.name) for f in fields(story) if f.name not in ("frames", "snapshots")}
    snapshots = [(step, shot) for step, shot in enumerate(story.snapshots)]
    entries = [(step, entry) for step, shot in snapshots for entry in shot.entries]
    rows = [[step, entry.t_start, entry.t_end, entry.count, entry.attention] for step, entry in entries]
    images = {f"image/{name}": np.stack([shot.images[name] for _, shot in snapshots]) for name in _cameras(story)}
    np.savez_compressed(
        path,
        allow_pickle=False,
        about=np.array(json.dumps(plain)),
        frames=np.array(story.frames, np.uint8),
        times=np.array([shot.t for _, shot in snapshots]),
        entries=np.array(rows, np.float64).reshape(-1, 5),
        thumbnails=np.array([entry.thumbnail for _, entry in entries], np.uint8),
        **images,
    )


def load_story(path: Path) -> EpisodeStory:
    """Read what `save_story` wrote."""
    with np.load(path, allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved.files}
    about = json.loads(str(arrays["about"]))
    about["events"] = tuple((t, what) for t, what in about["events"])
    entries: dict[int, list[EntryView]] = {}
    for (step, start, end, count, attention), picture in zip(arrays["entries"], arrays["thumbnails"], strict=True):
        entries.setdefault(int(step), []).append(EntryView(start, end, int(count), picture, attention))
    cameras = [name for name in arrays if name.startswith("image/")]
    snapshots = tuple(
        MemorySnapshot(
            float(t),
            tuple(entries.get(step, ())),
            {name.removeprefix("image/"): arrays[name][step] for name in cameras},
        )
        for step, t in enumerate(arrays["times"])
    )
    return EpisodeStory(**about, frames=tuple(arrays["frames"]), snapshots=snapshots)


def _cameras(story: EpisodeStory) -> list[str]:
    return list(story.snapshots[0].images) if story.snapshots else []
