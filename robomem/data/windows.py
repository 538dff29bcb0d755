"""Random access to training windows: the last k images, the state, and the actions from a tick on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomem.data.episode import IMAGES
from robomem.data.episode_file import EpisodeFile, StoredArray
from robomem.data.store import EpisodeStore
from robomem.errors import SpecMismatch, UnknownName

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Windows:
    """A batch of B windows.

    `images` camera -> (B, k, H, W, 3) uint8, oldest first; `state` (B, s) at the window's tick; `action` (B, h, a) from
    that tick on. Before an episode's first tick its first image is repeated, past its last its last action:
    `image_is_pad` (B, k) and `action_is_pad` (B, h) say where. `episode` and `tick` (B,) say whence.
    """

    images: dict[str, NDArray[np.uint8]]
    state: Floats
    action: Floats
    image_is_pad: NDArray[np.bool_]
    action_is_pad: NDArray[np.bool_]
    episode: NDArray[np.int64]
    tick: NDArray[np.int64]


class WindowReader:
    """Windows of every tick of every episode of a store, numbered 0 to `len(reader)`; safe from many threads.

    `frames` images, `stride` ticks apart, of each of `cameras` (default: all); `horizon` ticks of the field `action`;
    the fields `state`, side by side. State and actions are kept in memory, images are read when they are asked for.
    Sees the episodes that were in the store when it was made.
    """

    def __init__(
        self,
        store: EpisodeStore,
        *,
        frames: int = 1,
        stride: int = 1,
        horizon: int = 16,
        cameras: Sequence[str] | None = None,
        state: Sequence[str] = ("joint_pos", "gripper"),
        action: str = "sent",
    ) -> None:
        for name, value in (("frames", frames), ("stride", stride), ("horizon", horizon), ("episodes", len(store))):
            if value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        there = [name.removeprefix(IMAGES) for name in store.fields if name.startswith(IMAGES)]
        self.cameras = tuple(there if cameras is None else cameras)
        for camera in self.cameras:
            if camera not in there:
                raise UnknownName("camera", camera, there)
        self._past = np.arange(1 - frames, 1) * stride
        self._ahead = np.arange(horizon)
        self._last = store.lengths - 1
        self._start = np.concatenate([[0], np.cumsum(store.lengths)])
        self._images = [_Images(store, camera) for camera in self.cameras]
        self._state = np.concatenate([_columns(store, n, state) for n in range(len(store))])
        self._action = np.concatenate([_columns(store, n, [action]) for n in range(len(store))])

    def __len__(self) -> int:
        return int(self._start[-1])

    def read(self, windows: Iterable[int]) -> Windows:
        """The windows of these numbers, as one batch."""
        index = np.fromiter(windows, np.int64)
        if index.size == 0 or index.min() < 0 or index.max() >= len(self):
            raise ValueError(f"windows {index} are not within 0 to {len(self) - 1}, or none")
        episode = np.searchsorted(self._start, index, side="right") - 1
        tick = index - self._start[episode]
        past = tick[:, None] + self._past  # (B, k)
        ahead = tick[:, None] + self._ahead  # (B, h)
        last = self._last[episode][:, None]
        seen = np.maximum(past, 0)
        return Windows(
            {images.camera: images.read(episode, seen) for images in self._images},
            self._state[index],
            self._action[self._start[episode][:, None] + np.minimum(ahead, last)],
            past < 0,
            ahead > last,
            episode,
            tick,
        )

    def sample(self, n: int, rng: np.random.Generator) -> Windows:
        """`n` windows drawn evenly from all, with replacement."""
        return self.read(rng.integers(len(self), size=n))


class _Images:
    """Where one camera's images lie in every episode of a store."""

    def __init__(self, store: EpisodeStore, camera: str) -> None:
        self.camera = camera
        self._files: list[EpisodeFile] = [store.file(number) for number in range(len(store))]
        self._arrays: list[StoredArray] = [file.array(IMAGES + camera) for file in self._files]
        self._shape = self._arrays[0].shape[1:]

    def read(self, episode: NDArray[np.int64], ticks: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images (B, k, H, W, 3) at `ticks` (B, k), rising, of `episode` (B,)."""
        images = np.empty((*ticks.shape, *self._shape), np.uint8)
        for row, number in enumerate(episode):
            file, array = self._files[number], self._arrays[number]
            with file.opened() as fd:
                have, chunk = -1, images[row]
                for column, tick in enumerate(ticks[row]):
                    if tick // array.ticks != have:
                        have = int(tick // array.ticks)
                        chunk = file.chunk(fd, array, have)
                    images[row, column] = chunk[tick - have * array.ticks]
        return images


def _columns(store: EpisodeStore, episode: int, fields: Sequence[str]) -> Floats:
    """`fields` of one episode side by side, (T, width)."""
    values: dict[str, NDArray[Any]] = store.read(episode, fields)
    for name, value in values.items():
        if value.dtype.kind not in "fiub" or value.ndim > 2:
            raise SpecMismatch(f"field '{name}' is {value.dtype} {value.shape[1:]}, expected one row of numbers a tick")
    return np.concatenate([value.reshape(len(value), -1).astype(np.float32) for value in values.values()], axis=1)
