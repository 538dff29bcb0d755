"""Times one policy step: encode two pictures, read and write a full memory, denoise an action chunk.

`robomem bench policy`. The pictures are rendered ones of a task.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robomem.cli.build import build
from robomem.cli.configuration import require_at_least, require_one_task, require_weights
from robomem.cli.runfolder import RunFolder
from robomem.types import Context

WARM_UP = 30  # steps: the memory fills up, and caches are warm


@dataclass
class Settings:
    """`steps` of `policy` on `threads`."""

    tasks: dict[str, Any]
    robot: dict[str, Any]
    kinematics: dict[str, Any]
    policy: dict[str, Any]
    steps: int
    threads: int
    seed: int

    def __post_init__(self) -> None:
        require_one_task(self)
        require_weights({"policy": self.policy})
        require_at_least(self, steps=1, threads=1, seed=0)


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """Median and 90th percentile of a step [ms]."""
    import torch

    torch.set_num_threads(settings.threads)
    (task,) = settings.tasks.values()
    robot = build(settings.robot, task=build(task))
    policy = build(settings.policy, kinematics=build(settings.kinematics))
    robot.reset(settings.seed)
    obs, context = robot.observe(), Context(robot.task.instruction)
    memory = policy.new_memory(settings.seed)
    taken_ms = []
    for step in range(WARM_UP + settings.steps):
        begun = time.monotonic()
        policy.infer(replace(obs, t=step * policy.period), context, memory)
        taken_ms.append((time.monotonic() - begun) * 1e3)
    median, p90 = np.percentile(taken_ms[WARM_UP:], [50, 90])
    print(f"a policy step takes {median:.1f} ms (median), {p90:.1f} ms (90th percentile), {settings.threads} threads")
    return {
        "seed": settings.seed,
        "step_ms": {"median": median, "p90": p90, "n": settings.steps},
        "parameters": sum(weights.numel() for weights in policy.model.parameters()),
        "threads": settings.threads,
        "device": str(next(policy.model.parameters()).device),
    }
