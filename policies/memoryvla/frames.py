"""Demonstrations as one flat table of frames, on disk once and mapped into every training process."""

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from policies.memoryvla.model import MemoryVLAConfig
from policies.memoryvla.normalize import displacements, on_table, proprioception
from robomem.control.cameras import Camera
from robomem.data.durable import write_file
from robomem.data.store import EpisodeStore
from robomem.errors import SpecMismatch, StoreError
from robomem.interfaces import Kinematics

Array = NDArray[Any]
INDEX = "index.json"
FRAME_COLUMNS = ("images", "proprio", "t", "actions", "valid", "places", "visible", "pixels", "goal", "kind")
GLANCE_COLUMNS = ("images", "proprio", "places", "visible", "pixels", "words")
NAMED_COLUMNS = ("named", "known")  # of glances, for an encoder that is grounded
SAME = 0.01  # relative, what the clock of a real arm may do to a tick (median of an episode)


@dataclass(frozen=True)
class FrameTable:
    """F frames, a control tick in every `stride_s` [s], of E episodes one after another.

    images (F, V, S, S, 3) uint8, proprio (F, P) [m, rad], t (F,) [s], actions (F, h, 7) [m, rad, 0..1] from the tool
    pose of the frame, valid (F, h) whether the episode still ran, places (F, E, 3) and goal (F, 3) in units of 0.1 m
    from the table's middle, visible (F, E), pixels (F, V, E, 2) where in each picture they are, 0..1 from its upper
    left corner, kind (F,); words (E, W), task (E,), first (E + 1,) frame of each episode.
    """

    columns: dict[str, Array]
    tasks: tuple[str, ...]
    stride_s: float
    seeds: dict[str, tuple[int, int]]  # task -> lowest and highest seed
    identity: str  # of the stores, the geometry and the shapes that it was made from

    def __getattr__(self, name: str) -> Array:
        try:
            return self.columns[name]
        except KeyError:
            raise AttributeError(name) from None

    def episode_of(self) -> Array:
        """The episode of every frame, (F,)."""
        return np.repeat(np.arange(len(self.task)), np.diff(self.first))


def prepare(
    stores: Sequence[EpisodeStore],
    kinematics: Kinematics,
    config: MemoryVLAConfig,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> FrameTable:
    """The table of all successful episodes, made in `folder` or, when it is there already, opened.

    Tables opened from what `folder` held before stay as they are. Raises StoreError when there is no successful
    episode, SpecMismatch when cameras or sizes are not the config's, when an action of the config does not last a whole
    number of ticks, or when the stores' ticks are not equally long.
    """
    chosen = [(store, episode) for store in stores for episode in range(len(store)) if store.info(episode)["success"]]
    if not chosen:
        raise StoreError(f"no successful episode in {', '.join(str(store.path) for store in stores) or 'no store'}")
    about = _identity(chosen, kinematics, config)
    if (folder / INDEX).exists():
        index = json.loads((folder / INDEX).read_text())
        if index["identity"] == about:
            return _opened(folder, index)
    stride, tick_s = _stride(chosen, config)
    _vacate(folder)
    frames = [-(-int(store.lengths[episode]) // stride) for store, episode in chosen]
    columns = _allocate(folder, sum(frames), config, FRAME_COLUMNS)
    first = np.concatenate([[0], np.cumsum(frames)])
    tasks = sorted({store.info(episode)["task"] for store, episode in chosen})
    for number, (store, episode) in enumerate(chosen):
        rows = slice(first[number], first[number + 1])
        for name, values in _rows(store.read(episode), kinematics, config, stride, _views(store, config)).items():
            columns[name][rows] = values
        progress(number + 1, len(chosen))
    info = [store.info(episode) for store, episode in chosen]
    np.save(folder / "first.npy", first)
    np.save(folder / "task.npy", np.array([tasks.index(i["task"]) for i in info]))
    np.save(folder / "words.npy", np.array([config.encoder.read(i["instruction"]) for i in info]))
    for column in columns.values():
        column.flush()
    seeds = {task: [i["seed"] for i in info if i["task"] == task] for task in tasks}
    index = {
        "identity": about,
        "columns": [*columns, "first", "task", "words"],
        "tasks": tasks,
        "stride_s": stride * tick_s,
        "seeds": {task: (min(of), max(of)) for task, of in seeds.items()},
    }
    write_file(folder / INDEX, json.dumps(index).encode())
    return _opened(folder, index)


@dataclass(frozen=True)
class GlanceTable:
    """G single moments of random scenes: images, proprio, places, visible, pixels as in a FrameTable, words (G, W);
    where the encoder is grounded, also where words that name a thing say it is, named (G, W, 3), known (G, W);
    `of_task`, the moments of each task."""

    columns: dict[str, Array]
    of_task: tuple[Array, ...]

    def __getattr__(self, name: str) -> Array:
        try:
            return self.columns[name]
        except KeyError:
            raise AttributeError(name) from None


def prepare_glances(
    stores: Sequence[EpisodeStore], kinematics: Kinematics, config: MemoryVLAConfig, folder: Path
) -> GlanceTable:
    """The table of all glances, made in `folder` or, when it is there already, opened.

    Raises StoreError when a store holds none, SpecMismatch when cameras or sizes are not the config's.
    """
    sizes = [int(store.lengths.sum()) for store in stores]
    if empty := [store.path for store, size in zip(stores, sizes, strict=True) if not size]:
        raise StoreError(f"no glance in {empty[0]}; collect some with: robomem collect glances=20000 out=DIR")
    chosen = [(store, episode) for store in stores for episode in range(len(store))]
    names = [*GLANCE_COLUMNS, *(NAMED_COLUMNS if config.encoder.grounded else ())]
    index = {"identity": _identity(chosen, kinematics, config), "columns": names, "sizes": sizes}
    if not (folder / INDEX).exists() or json.loads((folder / INDEX).read_text()) != index:
        _vacate(folder)
        columns, row = _allocate(folder, sum(sizes), config, names), 0
        for store, episode in chosen:
            glances = store.read(episode)
            rows = slice(row, row := row + len(glances["t"]))
            for name, values in _glance_rows(glances, kinematics, config, _views(store, config)).items():
                columns[name][rows] = values
        for column in columns.values():
            column.flush()
        write_file(folder / INDEX, json.dumps(index).encode())
    columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in index["columns"]}
    ends = np.cumsum(sizes)
    return GlanceTable(columns, tuple(np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)))


def _glance_rows(
    glances: dict[str, Array], kinematics: Kinematics, config: MemoryVLAConfig, views: list[Camera]
) -> dict[str, Array]:
    """The columns of one episode of glances."""
    words = np.array([config.encoder.read(text) for text in glances["instruction"]])
    tool = kinematics.tool_poses(glances["joint_pos"])
    return {
        "images": _stacked(glances, config),
        "proprio": proprioception(tool, glances["joint_pos"], glances["gripper"]),
        "places": on_table(glances["truth/entities"]),
        "visible": glances["truth/visible"],
        "pixels": _pixels(views, glances["truth/entities"], tool),
        "words": words,
        **(_named(glances, words, config) if config.encoder.grounded else {}),
    }


def _named(glances: dict[str, Array], words: Array, config: MemoryVLAConfig) -> dict[str, Array]:
    """Where the things are that `words` name, and which words name one."""
    named, known = np.zeros((*words.shape, 3), np.float32), np.zeros(words.shape, np.float32)
    for row, (names, places) in enumerate(zip(glances["names"], glances["truth/named"], strict=True)):
        for name, place in zip(names.split(), places, strict=False):
            said = words[row] == config.encoder.read(name)[0]
            named[row, said], known[row, said] = on_table(place), 1
    return {"named": named, "known": known}


def _identity(chosen: Sequence[tuple[EpisodeStore, int]], kinematics: Kinematics, config: MemoryVLAConfig) -> str:
    """8 hexadecimal digits that change with the stores, the arm's geometry and the shapes; reads no image."""
    store, episode = chosen[0]
    tool = kinematics.tool_poses(store.read(episode, ["joint_pos"])["joint_pos"])
    what = [of.identity() for of in dict.fromkeys(of for of, _ in chosen)], np.round(tool, 9).tolist()
    encoder, expert = config.encoder, config.expert
    shape = (encoder.cameras, encoder.image_size, encoder.words, expert.horizon, config.action_dt, config.entities)
    reads = () if encoder.grounded else (type(encoder).__name__,)
    return f"{zlib.crc32(repr((what, shape + reads, FRAME_COLUMNS)).encode()):08x}"


def _stride(chosen: Sequence[tuple[EpisodeStore, int]], config: MemoryVLAConfig) -> tuple[int, float]:
    """Ticks in an action of the config, and how long one is [s]: the same in every store. Raises SpecMismatch."""
    first_of = [(store, next(of)[1]) for store, of in groupby(chosen, key=itemgetter(0))]
    ticks = [(store, float(np.median(np.diff(store.read(episode, ["t"])["t"])))) for store, episode in first_of]
    first, tick_s = ticks[0]
    for store, its in ticks:
        ratio = config.action_dt / its
        if round(ratio) < 1 or abs(ratio - round(ratio)) > SAME * ratio:
            lasts = f"an action of {config.action_dt:g} s lasts {ratio:g} ticks, expected a whole number"
            raise SpecMismatch(f"{store.path} was recorded at {1 / its:g} Hz: {lasts}")
        if abs(its - tick_s) > SAME * tick_s:
            as_first = f"expected {1 / tick_s:g} Hz as in {first.path}"
            raise SpecMismatch(f"{store.path} was recorded at {1 / its:g} Hz, {as_first}")
    return round(config.action_dt / tick_s), tick_s


def _opened(folder: Path, index: dict[str, Any]) -> FrameTable:
    columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in index["columns"]}
    seeds = {task: (low, high) for task, (low, high) in index["seeds"].items()}
    return FrameTable(columns, tuple(index["tasks"]), index["stride_s"], seeds, index["identity"])


def _vacate(folder: Path) -> None:
    """Make room in `folder`. Old files are unlinked, not written over: a run may still have them mapped."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    for column in folder.glob("*.npy"):
        column.unlink()


def _allocate(folder: Path, frames: int, config: MemoryVLAConfig, names: Sequence[str]) -> dict[str, Any]:
    encoder, horizon = config.encoder, config.expert.horizon
    size = encoder.image_size
    shapes: dict[str, tuple[type, tuple[int, ...]]] = {
        "images": (np.uint8, (len(encoder.cameras), size, size, 3)),
        "proprio": (np.float32, (encoder.proprio,)),
        "t": (np.float32, ()),
        "actions": (np.float32, (horizon, 7)),
        "valid": (np.float32, (horizon,)),
        "places": (np.float32, (config.entities, 3)),
        "visible": (np.float32, (config.entities,)),
        "pixels": (np.float32, (len(encoder.cameras), config.entities, 2)),
        "words": (np.int64, (encoder.words,)),
        "named": (np.float32, (encoder.words, 3)),
        "known": (np.float32, (encoder.words,)),
        "goal": (np.float32, (3,)),
        "kind": (np.int64, ()),
    }
    return {
        name: open_memmap(folder / f"{name}.npy", "w+", shapes[name][0], (frames, *shapes[name][1]))  # type: ignore[no-untyped-call]
        for name in names
    }


def _rows(
    episode: dict[str, Array], kinematics: Kinematics, config: MemoryVLAConfig, stride: int, views: list[Camera]
) -> dict[str, Array]:
    """The columns of one episode, every `stride`-th tick."""
    ticks = np.arange(0, len(episode["t"]), stride)
    ahead = ticks[:, None] + stride * np.arange(config.expert.horizon)
    due = np.minimum(ahead, len(episode["t"]) - 1)
    measured = kinematics.tool_poses(episode["joint_pos"])
    wanted = kinematics.tool_poses(episode["wanted"][:, :-1])
    return {
        "images": _stacked(episode, config)[ticks],
        "proprio": proprioception(measured, episode["joint_pos"], episode["gripper"])[ticks],
        "t": episode["t"][ticks],
        "actions": displacements(measured[ticks], wanted[due], episode["wanted"][due, -1]),
        "valid": ahead == due,
        "places": on_table(episode["truth/entities"][ticks]),
        "visible": episode["truth/visible"][ticks],
        "pixels": _pixels(views, episode["truth/entities"][ticks], measured[ticks]),
        "goal": on_table(episode["truth/goal"][ticks]),
        "kind": episode["truth/goal_kind"][ticks],
    }


def _views(store: EpisodeStore, config: MemoryVLAConfig) -> list[Camera]:
    """The calibrated cameras, as the notes of `store` have them. Raises SpecMismatch."""
    notes = store.meta.get("cameras", {})
    missing = [name for name in config.encoder.cameras if name not in notes]
    if missing:
        raise SpecMismatch(f"{store.path} does not say where camera '{missing[0]}' was; collect it anew")
    return [Camera(**notes[name]) for name in config.encoder.cameras]


def _pixels(views: list[Camera], places: Array, tool_poses: Array) -> Array:
    """Where in every picture `places` (T, E, 3) [m] are, (T, V, E, 2)."""
    return np.stack([camera.project(places, tool_poses) for camera in views], axis=1)


def _stacked(episode: dict[str, Array], config: MemoryVLAConfig) -> Array:
    """The cameras' pictures, (T, V, S, S, 3)."""
    return np.stack([_pictures(episode, camera, config) for camera in config.encoder.cameras], axis=1)


def _pictures(episode: dict[str, Array], camera: str, config: MemoryVLAConfig) -> Array:
    name, size = f"images/{camera}", config.encoder.image_size
    if name not in episode:
        cameras = sorted(field.removeprefix("images/") for field in episode if field.startswith("images/"))
        raise SpecMismatch(f"no camera '{camera}' in the episodes; cameras: {', '.join(cameras)}")
    if episode[name].shape[1:] != (size, size, 3):
        raise SpecMismatch(f"camera '{camera}' recorded {episode[name].shape[1:]}, the config expects {size} x {size}")
    return episode[name]
