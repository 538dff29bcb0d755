"""Two ways to compute the same numbers, ours and a plain one, timed in turn."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from robomem.cli.build import build
from robomem.cli.configuration import require_at_least
from robomem.errors import RobomemError

Way = Callable[[], Any]  # a tensor
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
        ways = build(part, seed=settings.seed)
        off = difference(name, ways["plain"], ways["ours"])
        medians = race(ways, settings.rounds)
        ratio = medians["plain"] / medians["ours"]
        others = "".join(f", {ms:.1f} ms {way}" for way, ms in medians.items() if way != "ours")
        print(f"{name}: {medians['ours']:.1f} ms{others}: {ratio:.2f} times faster than plain")
        results[name] = {"ms": medians, "ratio": ratio, "difference": off}
    return {
        "seed": settings.seed,
        "ratios": {name: result["ratio"] for name, result in results.items()},
        "contests": results,
        "rounds": settings.rounds,
        "threads": settings.threads,
    }


def difference(name: str, plain: Way, ours: Way) -> float:
    """By how much two ways to compute the same differ, as a share of the largest number. Raises NotTheSame."""
    expected, got = plain(), ours()
    off = float((expected - got).abs().max() / expected.abs().max())
    if not off <= CLOSE:
        raise NotTheSame(f"{name}: the plain way and ours differ by {off:.1e} of the largest number")
    return off


def race(ways: Mapping[str, Way], rounds: int) -> dict[str, float]:
    """Median times [ms] of `rounds` in which each takes its turn."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, compute in ways.items():
            begun = time.monotonic()
            compute()
            taken[name].append((time.monotonic() - begun) * 1e3)
    return {name: median(times) for name, times in taken.items()}
