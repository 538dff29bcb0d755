"""Two ways to compute the same numbers, ours and a plain one, timed in turn."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from robomem.cli.build import build
from robomem.cli.configuration import require_at_least
from robomem.errors import RobomemError

CLOSE = 1e-4  # of the largest number, what both may differ by


class NotTheSame(RobomemError):
    """Two ways to compute the same do not."""


@dataclass
class Settings:
    """What is computed, by name, how often, and on how many `threads`."""

    contests: dict[str, dict[str, Any]]
    rounds: int
    threads: int
    seed: int

    def __post_init__(self) -> None:
        require_at_least(self, rounds=1, threads=1, seed=0)


def run(settings: Settings) -> dict[str, Any]:
    """Of every contest, medians [ms], and by which factor ours is faster. Raises NotTheSame."""
    import torch

    torch.set_num_threads(settings.threads)
    results = {}
    for name, part in settings.contests.items():
        ways: Mapping[str, Callable[[], torch.Tensor]] = build(part, seed=settings.seed)
        plain, ours = (ways[way]() for way in ("plain", "ours"))
        off = float((plain - ours).abs().max() / plain.abs().max())
        if not off <= CLOSE:
            raise NotTheSame(f"{name}: the plain way and ours differ by {off:.1e} of the largest number")
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(settings.rounds):
            for way, compute in ways.items():
                begun = time.monotonic()
                compute()
                taken[way].append((time.monotonic() - begun) * 1e3)
        medians = {way: median(times) for way, times in taken.items()}
        ratio = medians["plain"] / medians["ours"]
        print(f"{name}: {medians['ours']:.1f} ms, {medians['plain']:.1f} ms plain: {ratio:.2f} times faster")
        results[name] = {"ms": medians, "ratio": ratio, "difference": off}
    return {
        "seed": settings.seed,
        "ratios": {name: result["ratio"] for name, result in results.items()},
        "contests": results,
        "rounds": settings.rounds,
        "threads": settings.threads,
    }
