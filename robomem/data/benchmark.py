"""How many random windows a second: this store against LeRobotDataset v3 with the same content, in one process."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomem.data.episode import IMAGES, Episode
from robomem.data.lerobot import ACTION, CAMERA, REPO_ID, STATE, export_lerobot, lerobot_dataset, pixels
from robomem.data.store import EpisodeStore
from robomem.data.windows import WindowReader
from robomem.errors import RobomemError

STORAGES = ("video", "image")
BATCH = 32
CHECKED = 4  # windows compared with LeRobot's before anything is timed

Read = Callable[[NDArray[np.int64]], Any]


@dataclass(frozen=True)
class Shape:
    """What one window holds: `frames` images of each camera, `horizon` actions."""

    frames: int
    horizon: int


SHAPES = (Shape(1, 16), Shape(4, 16))


def bench_data(
    store: Path | str | None = None,
    *,
    rounds: int = 5,
    seconds: float = 0.5,
    episodes: int = 8,
    ticks: int = 100,
    hz: int = 20,
    seed: int = 0,
    progress: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Random windows a second of the episode store, and of LeRobotDataset as videos and as images.

    The content is the first `episodes` of `store`, or made up: `ticks` each, two cameras of 64 x 64. Every one of
    `rounds` reads windows for `seconds` from each of the three in turn; medians count. `ratios.over_lerobot` is the
    smallest, over the window shapes, of our rate over LeRobot's better one; `windows_per_s` is our rate there.
    """
    with tempfile.TemporaryDirectory(prefix="robomem-bench-") as name:
        folder = Path(name)
        progress(f"making {episodes} episodes")
        if store is None:
            make_content(folder / "store", episodes, ticks, hz, seed)
        else:
            _copy(EpisodeStore.open(store), folder / "store", episodes)
        ours = EpisodeStore.open(folder / "store")
        for storage in STORAGES:
            progress(f"exporting to LeRobot as {storage}s")
            export_lerobot(ours, folder / storage, hz, videos=storage == "video")
        shapes = [_compare(ours, folder, shape, hz, rounds, seconds, seed, progress) for shape in SHAPES]
        worst = min(shapes, key=lambda result: result["over_lerobot"])
        return {
            "ratios": {"over_lerobot": worst["over_lerobot"]},
            "windows_per_s": worst["windows_per_s"]["robomem"],
            "shapes": shapes,
            "bytes": {name: _bytes(path) for name, path in _folders(ours, folder).items()},
            "content": {"episodes": len(ours), "ticks": int(ours.lengths.sum()), "made_up": store is None},
        }


def make_content(path: Path, episodes: int, ticks: int, hz: int, seed: int) -> None:
    """A store of made-up episodes: a still background with sensor grain and moving discs, images at half the rate."""
    rng = np.random.default_rng(seed)
    with EpisodeStore.create(path, {"made_up": True}) as store:
        for number in range(episodes):
            row = rng.normal(size=(ticks, 8)).cumsum(axis=0) / 20
            arrays: dict[str, NDArray[Any]] = {
                **{IMAGES + camera: _scene(ticks, rng) for camera in ("front", "wrist")},
                "t": np.arange(ticks) / hz,
                "joint_pos": row[:, :7],
                "gripper": np.clip(row[:, 7], 0, 1),
                "sent": row + 0.01,
                "source": np.full(ticks, "oracle"),
            }
            store.append(Episode(arrays, {"instruction": f"task {number % 3}", "hz": hz}))


def _copy(store: EpisodeStore, path: Path, episodes: int) -> None:
    """The first `episodes` of `store` as a store of their own."""
    with EpisodeStore.create(path, store.meta) as copy:
        for number in range(min(episodes, len(store))):
            copy.append(Episode(store.read(number), store.info(number)))


def _scene(ticks: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Images (ticks, 64, 64, 3), each shown for two ticks."""
    y, x = np.mgrid[:64, :64]
    background = np.stack([90 + x, 120 + y, 140 + 20 * np.sin(x / 9)], axis=-1) + rng.normal(0, 3, (64, 64, 3))
    images = np.repeat(background[None], (ticks + 1) // 2, axis=0)
    phase, colour = rng.uniform(0, 2 * np.pi, (4, 2)), rng.uniform(0, 255, (4, 3))
    for shown, image in enumerate(images):
        for (across, down), paint in zip(phase, colour, strict=True):
            middle = 32 + 22 * np.sin(shown / 10 + across), 32 + 22 * np.sin(shown / 13 + down)
            image[(x - middle[0]) ** 2 + (y - middle[1]) ** 2 < 30] = paint
    return np.repeat(np.clip(images, 0, 255).astype(np.uint8), 2, axis=0)[:ticks]


def _compare(
    store: EpisodeStore,
    folder: Path,
    shape: Shape,
    hz: int,
    rounds: int,
    seconds: float,
    seed: int,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Rates of the three readers for one window shape."""
    reader = WindowReader(store, frames=shape.frames, horizon=shape.horizon)
    readers: dict[str, Read] = {"robomem": reader.read}
    for storage in STORAGES:
        dataset = _open_lerobot(folder / storage, reader.cameras, shape, hz)
        _check_same(reader, dataset, exact=storage == "image")
        readers[f"lerobot_{storage}"] = partial(_read_lerobot, dataset)
    rates: dict[str, list[float]] = {name: [] for name in readers}
    rng = np.random.default_rng(seed)
    for turn in range(rounds):
        progress(f"{shape.frames} images, {shape.horizon} actions: round {turn + 1} of {rounds}")
        for name, read in readers.items():
            rates[name].append(_rate(read, len(reader), seconds, BATCH if name == "robomem" else 1, rng))
    medians = {name: median(values) for name, values in rates.items()}
    better = max(medians["lerobot_video"], medians["lerobot_image"])
    about = {"frames": shape.frames, "horizon": shape.horizon, "cameras": len(reader.cameras)}
    return {**about, "windows_per_s": medians, "over_lerobot": medians["robomem"] / better}


def _rate(read: Read, n_windows: int, seconds: float, batch: int, rng: np.random.Generator) -> float:
    """Random windows a second, over at least `seconds` and one read."""
    start, done = time.monotonic(), 0
    while True:
        read(rng.integers(n_windows, size=batch))
        done += batch
        if (passed := time.monotonic() - start) >= seconds:
            return done / passed


def _open_lerobot(root: Path, cameras: tuple[str, ...], shape: Shape, hz: int) -> Any:
    """The dataset at `root`, asked for the same windows and for bytes, not floats, which is its fastest way."""
    past = [(tick + 1 - shape.frames) / hz for tick in range(shape.frames)]
    images = {CAMERA + camera: past for camera in cameras}
    ahead = {ACTION: [tick / hz for tick in range(shape.horizon)]}
    windows = {**images, **ahead}
    backend = _video_backend()
    return lerobot_dataset()(REPO_ID, root=root, delta_timestamps=windows, video_backend=backend, return_uint8=True)


def _video_backend() -> str:
    """LeRobot's own order of preference, without the page that it logs when torchcodec finds no FFmpeg."""
    try:
        import torchcodec  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return "pyav"
    return "torchcodec"


def _read_lerobot(dataset: Any, windows: NDArray[np.int64]) -> list[Any]:
    return [dataset[int(index)] for index in windows]


def _check_same(reader: WindowReader, dataset: Any, exact: bool) -> None:
    """Both give the same windows; images of videos, which lose detail, within a tenth of the range on average."""
    if len(dataset) != len(reader):
        raise RobomemError(f"LeRobot holds {len(dataset)} ticks, the store {len(reader)}: the comparison is void")
    numbers = np.linspace(0, len(reader) - 1, CHECKED).astype(int)
    windows = reader.read(numbers)
    for row, number in enumerate(numbers):
        item = dataset[int(number)]
        pairs = {STATE: windows.state[row], ACTION: windows.action[row], "action_is_pad": windows.action_is_pad[row]}
        wrong = [name for name, value in pairs.items() if not np.array_equal(np.asarray(item[name]), value)]
        for camera, images in windows.images.items():
            theirs = pixels(item[CAMERA + camera]).astype(float)
            if np.abs(theirs - images[row]).mean() > (0.0 if exact else 25.5):
                wrong.append(camera)
        if wrong:
            raise RobomemError(f"'{wrong[0]}' of window {number} is not LeRobot's: the comparison is void")


def _folders(store: EpisodeStore, folder: Path) -> dict[str, Path]:
    return {"robomem": store.path, "lerobot_video": folder / "video", "lerobot_image": folder / "image"}


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
