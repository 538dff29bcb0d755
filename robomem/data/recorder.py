"""Records the frames of a run and saves them as one episode."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomem.data.episode import IMAGES, TRUTH, Episode
from robomem.data.store import EpisodeStore
from robomem.types import Frame, JointCommand

log = logging.getLogger(__name__)

MAX_BYTES = 4 * 1024**3  # two 64 x 64 cameras at 10 Hz for five hours, two 640 x 480 for four minutes
Annotate = Callable[[], Mapping[str, NDArray[Any]]]


class EpisodeRecorder:
    """A sink that keeps frames in memory until `finish` saves them in `store`.

    `annotate`, called once a frame, gives what only the simulator knows, saved as `truth/<name>`. An episode whose
    images come to more than `max_bytes` is cut there, said in the log and by its info's "cut_at_tick"; the run goes on.
    An image that is handed out again, as cameras are slower than the loop, counts once.
    """

    def __init__(self, store: EpisodeStore, annotate: Annotate | None = None, max_bytes: int = MAX_BYTES) -> None:
        self._store = store
        self._annotate = annotate
        self._max_bytes = max_bytes
        self._frames: list[Frame] = []
        self._truth: list[Mapping[str, NDArray[Any]]] = []
        self._bytes = 0
        self._cut = False

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, frame: Frame) -> None:
        """Keep `frame`; returns at once."""
        held = self._frames[-1].obs.images if self._frames else {}
        self._bytes += sum(i.nbytes for name, i in frame.obs.images.items() if i is not held.get(name))
        if self._bytes > self._max_bytes:
            if not self._cut:
                log.error("the episode is cut at tick %d: %d bytes are full", len(self._frames), self._max_bytes)
            self._cut = True
            return
        self._frames.append(frame)
        if self._annotate is not None:
            self._truth.append({name: np.array(value) for name, value in self._annotate().items()})

    def finish(self, info: Mapping[str, Any]) -> int | None:
        """Save the episode with `info` and start the next; its number, None when there was no frame.

        Returns when no crash can lose the episode. Raises StoreError when it could not be saved (a full disk, say);
        the frames are kept, so it may be called again.
        """
        if not self._frames:
            return None
        cut = {"cut_at_tick": len(self._frames)} if self._cut else {}
        episode = Episode(self._arrays(), {**info, **cut})
        number = self._store.append(episode)
        self.discard()
        return number

    def abort(self, info: Mapping[str, Any], why: str) -> int | None:
        """Save what there is of an episode that broke off, with `why` as its info's "aborted"."""
        return self.finish({**info, "aborted": why})

    def discard(self) -> None:
        """Forget the frames since the last `finish`."""
        self._frames, self._truth = [], []
        self._bytes, self._cut = 0, False

    def _arrays(self) -> dict[str, NDArray[Any]]:
        frames = self._frames
        arrays: dict[str, NDArray[Any]] = {
            "t": np.array([frame.obs.t for frame in frames]),
            "joint_pos": np.stack([frame.obs.joint_pos for frame in frames]),
            "joint_vel": np.stack([frame.obs.joint_vel for frame in frames]),
            "gripper": np.array([frame.obs.gripper for frame in frames]),
            "wanted": np.stack([_row(frame.wanted) for frame in frames]),
            "sent": np.stack([_row(frame.sent) for frame in frames]),
            "mode": np.array([str(frame.mode) for frame in frames]),
            "source": np.array([frame.source for frame in frames]),
            "refused": np.array([frame.refused for frame in frames]),
            "context_version": np.array([frame.context_version for frame in frames], np.int64),
            "starved": np.array([frame.starved for frame in frames], np.bool_),
            "late_s": np.array([frame.late_s for frame in frames]),
        }
        for camera in frames[0].obs.images:
            arrays[IMAGES + camera] = np.stack([frame.obs.images[camera] for frame in frames])
        for name in self._truth[0] if self._truth else ():
            arrays[TRUTH + name] = np.stack([truth[name] for truth in self._truth])
        return arrays


def _row(command: JointCommand) -> NDArray[np.float64]:
    """Joint positions and gripper in one row, (n + 1,)."""
    return np.append(command.joint_pos, command.gripper)
