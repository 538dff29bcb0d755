"""Glances of a task, saved in a store of their own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomem.cli.build import build

Part = dict[str, Any]
PER_EPISODE = 100  # glances that are saved together
NAMES = 8  # words of an instruction that can name a thing
SEEDS = 9000  # from the first on, one after another, and then again: training keeps to seeds below 10 000


def take(
    name: str, task: Part, robot: Part, kinematics: Part, glancer: Part, first_seed: int, count: int, path: str
) -> Iterator[dict[str, int]]:
    """The worker's job: how many glances are there already, then one message for every hundred."""
    from robomem.cli.collect import cameras_of, open_store
    from robomem.data.episode import Episode

    arm = build(robot, task=build(task))
    glances = build(glancer, robot=arm, kinematics=build(kinematics))
    with open_store(Path(path), {"glances of": name, "robot": robot, "cameras": cameras_of(arm)}) as store:
        done = int(store.lengths.sum())
        yield {"glances": done}
        while done < count:
            numbers = range(done, min(done + PER_EPISODE, count))
            seen = [glances.at(first_seed + number % SEEDS, number // SEEDS) for number in numbers]
            arrays = {
                "t": np.arange(len(seen), dtype=np.float64),
                "instruction": np.array([glance.instruction for glance in seen]),
                "joint_pos": np.stack([glance.obs.joint_pos for glance in seen]),
                "gripper": np.array([glance.obs.gripper for glance in seen]),
                "truth/entities": np.stack([glance.entities.pos for glance in seen]),
                "truth/visible": np.stack([glance.entities.visible for glance in seen]),
                "names": np.array([" ".join(glance.named) for glance in seen]),
                "truth/named": np.stack([_padded(list(glance.named.values())) for glance in seen]),
            }
            for camera in seen[0].obs.images:
                arrays[f"images/{camera}"] = np.stack([glance.obs.images[camera] for glance in seen])
            store.append(Episode(arrays, {"task": name, "first_seed": first_seed, "glances": len(seen)}))
            done += len(seen)
            yield {"glances": len(seen)}


def _padded(places: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Places (NAMES, 3), zero after the last."""
    padded = np.zeros((NAMES, 3))
    padded[: len(places)] = places
    return padded
