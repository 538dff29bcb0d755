"""Small made-up demonstrations whose right actions need sight, words and memory."""

from pathlib import Path

import numpy as np

from policies.action.dit import DiTConfig
from policies.memoryvla.model import MemoryVLAConfig
from policies.vlm.nano import NanoConfig
from robomem.control.kinematics import ArmKinematics
from robomem.data.episode_file import Episode
from robomem.data.store import EpisodeStore
from robomem.memory.bank import BankConfig

REST = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785])  # rad
SMALL = MemoryVLAConfig(
    encoder=NanoConfig(
        image_size=32, dim=32, heads=2, layers=1, channels=(8, 16, 32), tokens=8, perceptual_dim=16, words=8
    ),
    bank=BankConfig(slots=4, tokens=8, perceptual_dim=16, cognitive_dim=32, heads=2),
    expert=DiTConfig(horizon=4, dim=32, heads=2, layers=1, cognitive_dim=50, perceptual_dim=16),
)


CAMERAS = {
    "front": {"on": "base", "pose": [1.15, 0.0, 0.75, 0.65609, 0.26372, 0.26372, 0.65609], "focal": 1.4},
    "wrist": {"on": "tool", "pose": [0.065, 0.0, -0.1, 0.0, 0.70711, 0.70711, 0.0], "focal": 0.66},
}


def panda() -> ArmKinematics:
    """The arm's geometry; the file's place comes from the repository."""
    return ArmKinematics(Path(__file__).parents[2] / "sim/arms/panda/panda.xml")


def episode(task: str, seed: int, ticks: int, size: int = 32) -> Episode:
    """An arm that moves smoothly in front of noise."""
    random = np.random.default_rng(seed)
    t = np.arange(ticks) / 20
    joint_pos = REST + 0.2 * np.sin(t)[:, None] * random.normal(size=7)
    wanted = np.concatenate([joint_pos + 0.02, np.ones((ticks, 1))], axis=1)
    arrays = {
        "t": t,
        "images/front": random.integers(0, 255, (ticks, size, size, 3), dtype=np.uint8),
        "images/wrist": random.integers(0, 255, (ticks, size, size, 3), dtype=np.uint8),
        "joint_pos": joint_pos,
        "joint_vel": np.zeros((ticks, 7)),
        "gripper": np.ones(ticks),
        "wanted": wanted,
        "sent": wanted,
        "truth/entities": random.normal(size=(ticks, 8, 3)) * 0.1 + [0.45, 0, 0],
        "truth/visible": random.random((ticks, 8)) < 0.5,
        "truth/goal": random.normal(size=(ticks, 3)) * 0.1 + [0.45, 0, 0],
        "truth/goal_kind": random.integers(0, 9, ticks),
    }
    info = {"task": task, "instruction": "push the red button", "success": True, "seed": seed}
    return Episode(arrays, info)


def stores(folder: Path, episodes: int = 4, size: int = 32) -> list[EpisodeStore]:
    """Two tasks of different lengths."""
    made = []
    for task, ticks in (("one", 40), ("two", 64)):
        with EpisodeStore.create(folder / task, {"cameras": CAMERAS}) as store:
            for seed in range(episodes):
                store.append(episode(task, seed, ticks + 2 * seed, size))
        made.append(EpisodeStore.open(folder / task))
    return made


def glances(folder: Path, count: int = 20, size: int = 32) -> list[EpisodeStore]:
    """Single moments of two tasks."""
    made = []
    for number, task in enumerate(("one", "two")):
        arrays = episode(task, 100 + number, count, size).arrays
        kept = {name: array for name, array in arrays.items() if not name.endswith(("wanted", "sent", "goal", "_kind"))}
        with EpisodeStore.create(folder / task, {"cameras": CAMERAS}) as store:
            kept["instruction"], kept["names"] = np.array(["press the blue one"] * count), np.array(["blue"] * count)
            kept["truth/named"] = np.tile([0.55, 0.1, 0.2], (count, 8, 1))
            store.append(Episode(kept, {"task": task}))
        made.append(EpisodeStore.open(folder / task))
    return made
