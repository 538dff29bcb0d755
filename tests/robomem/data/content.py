"""Episodes made from a seed, so that a test can make them again and compare."""

import numpy as np

from robomem.data.episode import Episode


def make_episode(seed: int, length: int = 40, size: int = 16) -> Episode:
    """An episode of `length` ticks with two cameras of `size` pixels whose images repeat every second tick."""
    rng = np.random.default_rng(seed)
    images = {
        f"images/{camera}": np.repeat(rng.integers(0, 256, (length, size, size, 3), np.uint8), 2, axis=0)[:length]
        for camera in ("front", "wrist")
    }
    arrays = {
        **images,
        "t": np.arange(length) / 20,
        "joint_pos": rng.normal(size=(length, 7)),
        "gripper": rng.random(length),
        "wanted": np.where(rng.random((length, 8)) < 0.05, np.nan, rng.normal(size=(length, 8))),
        "sent": rng.normal(size=(length, 8)),
        "starved": rng.random(length) < 0.1,
        "context_version": rng.integers(0, 3, length),
        "refused": rng.choice(["", "joint 3 beyond its limit", "größer als 2 m/s"], length),
        "truth/visible": rng.random((length, 1 + seed % 3)) < 0.5,
    }
    return Episode(arrays, {"task": "push_buttons", "seed": seed, "success": seed % 2 == 0})


def assert_same(read, episode: Episode) -> None:
    """`read` holds every array of `episode`, to the byte."""
    assert read.keys() == episode.arrays.keys()
    for name, array in episode.arrays.items():
        assert read[name].dtype.kind == array.dtype.kind, name
        np.testing.assert_array_equal(read[name], array, err_msg=name)
