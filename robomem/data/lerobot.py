"""Export to LeRobotDataset v3, and back.

What LeRobot has no place for (modes, refusals, wanted commands, truth) is left behind; the real time of every tick goes
along as `observation.time` [s] since the first, because LeRobot's own `timestamp` is the frame number over the rate.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomem.data.durable import PARTIAL
from robomem.data.episode import IMAGES, Episode
from robomem.data.store import EpisodeStore
from robomem.errors import SpecMismatch, StoreError

STATE, ACTION, TIME, HUMAN = "observation.state", "action", "observation.time", "intervention"
CAMERA = "observation.images."
REPO_ID = "robomem/episodes"  # LeRobot wants a name; nothing is fetched or sent under it


def lerobot_dataset() -> Any:
    """The class, imported late because that takes seconds; its video encoder reports errors only."""
    os.environ.setdefault("SVT_LOG", "1")
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset


def export_lerobot(
    store: EpisodeStore,
    root: Path | str,
    hz: int,
    videos: bool = True,
    episodes: Sequence[int] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Write `episodes` (default: all) as a LeRobotDataset at `root`, a folder that must not exist; returns how many.

    `hz` is the rate that LeRobot stamps ticks with. `videos`: as LeRobot's default video files, else as images, which
    lose nothing. `observation.state` is joint_pos [rad] and gripper, `action` is what was sent, `task` the instruction.
    The folder appears when all is written.
    """
    root = Path(root)
    partial = root.with_name(root.name + PARTIAL)
    for path in (root, partial):
        if path.exists():
            raise StoreError(f"{path} is already there; remove it or choose another folder")
    numbers = range(len(store)) if episodes is None else episodes
    features = _features(store, videos)
    dataset = lerobot_dataset().create(REPO_ID, hz, features, root=partial, use_videos=videos, video_backend="pyav")
    for done, number in enumerate(numbers, start=1):
        for frame in _frames(store, number, features):
            dataset.add_frame(frame)
        dataset.save_episode(parallel_encoding=False)  # its encoder is threaded; two of them fight over the cores
        progress(done)
    dataset.finalize()
    partial.rename(root)
    return len(numbers)


def import_lerobot(root: Path | str, store: EpisodeStore, progress: Callable[[int], None] = lambda done: None) -> int:
    """Append every episode of the LeRobotDataset at `root` to `store`; returns how many.

    Needs `observation.state` and `action` of one width, their last number the gripper. Joint velocities are
    differences of positions.
    """
    if not (Path(root) / "meta" / "info.json").is_file():
        raise StoreError(f"{root} is not a LeRobotDataset v3: it has no meta/info.json")
    dataset = lerobot_dataset()(REPO_ID, root=root, video_backend="pyav", return_uint8=True)
    for number in range(dataset.num_episodes):
        store.append(_episode(dataset, number))
        progress(number + 1)
    return int(dataset.num_episodes)


def _features(store: EpisodeStore, videos: bool) -> dict[str, dict[str, Any]]:
    """LeRobot's description of what is exported."""
    joints = store.fields["joint_pos"].shape[0]
    row = {"dtype": "float32", "shape": (joints + 1,), "names": [*(f"joint_{n}" for n in range(joints)), "gripper"]}
    image = {"dtype": "video" if videos else "image", "names": ["height", "width", "channels"]}
    cameras = {
        CAMERA + name.removeprefix(IMAGES): {**image, "shape": field.shape}
        for name, field in store.fields.items()
        if name.startswith(IMAGES)
    }
    return {
        STATE: row,
        ACTION: row,
        TIME: {"dtype": "float64", "shape": (1,), "names": None},
        HUMAN: {"dtype": "bool", "shape": (1,), "names": None},
        **cameras,
    }


def _frames(store: EpisodeStore, number: int, features: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The ticks of one episode as LeRobot takes them."""
    cameras = [name for name in features if name.startswith(CAMERA)]
    images = {name: IMAGES + name.removeprefix(CAMERA) for name in cameras}
    read = store.read(number, ["t", "joint_pos", "gripper", "sent", "source", *images.values()])
    state = np.column_stack([read["joint_pos"], read["gripper"]]).astype(np.float32)
    task = str(store.info(number).get("instruction", ""))
    for tick in range(len(state)):
        yield {
            STATE: state[tick],
            ACTION: read["sent"][tick].astype(np.float32),
            TIME: read["t"][tick : tick + 1] - read["t"][0],
            HUMAN: read["source"][tick : tick + 1] == "human",
            **{name: read[field][tick] for name, field in images.items()},
            "task": task,
        }


def _episode(dataset: Any, number: int) -> Episode:
    """One episode of a LeRobotDataset."""
    about = dataset.meta.episodes[number]
    items = [dataset[index] for index in range(about["dataset_from_index"], about["dataset_to_index"])]
    missing = [name for name in (STATE, ACTION) if name not in items[0]]
    if missing:
        raise SpecMismatch(f"the dataset has no '{missing[0]}'; it has: {', '.join(sorted(items[0]))}")
    state, action = (np.stack([np.asarray(item[name], np.float64) for item in items]) for name in (STATE, ACTION))
    if state.shape != action.shape:
        raise SpecMismatch(f"'{STATE}' is {state.shape[1:]} and '{ACTION}' {action.shape[1:]}, expected one shape")
    t = np.array([float(item.get(TIME, item["timestamp"])) for item in items])
    human = np.array([bool(item.get(HUMAN, False)) for item in items])
    arrays: dict[str, NDArray[Any]] = {
        "t": t,
        "joint_pos": state[:, :-1],
        "joint_vel": np.gradient(state[:, :-1], t, axis=0) if len(t) > 1 else np.zeros_like(state[:, :-1]),
        "gripper": state[:, -1],
        "wanted": action,
        "sent": action,
        "source": np.where(human, "human", "oracle"),
        "mode": np.where(human, "teleop", "policy"),
        "refused": np.full(len(t), ""),
        "context_version": np.zeros(len(t), np.int64),
        "starved": np.zeros(len(t), np.bool_),
        "late_s": np.zeros(len(t)),
    }
    for name in (name for name in items[0] if name.startswith(CAMERA)):
        arrays[IMAGES + name.removeprefix(CAMERA)] = np.stack([pixels(item[name]) for item in items])
    return Episode(arrays, {"instruction": items[0]["task"], "hz": dataset.fps, "source": "lerobot"})


def pixels(image: Any) -> NDArray[np.uint8]:
    """An image (..., H, W, 3) from LeRobot's (..., 3, H, W), which is uint8 from videos and 0 to 1 from image files."""
    array = np.moveaxis(np.asarray(image), -3, -1)
    return np.ascontiguousarray(array if array.dtype == np.uint8 else np.rint(array * 255).astype(np.uint8))
