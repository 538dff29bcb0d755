"""Two ways to compute the same numbers, ours and a plain one, timed in turn."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from robomem.cli.build import build
from robomem.cli.configuration import BadSetting, require_at_least
from robomem.errors import RobomemError
from robomem.report.roofline import Work, floor_ms

Way = Callable[[], Any]  # a tensor
CLOSE = 1e-4  # of the largest number, what both may differ by


class NotTheSame(RobomemError):
    """Two ways to compute the same do not."""


@dataclass
class Settings:
    """What is computed, by name, how often, on how many `threads`, and where, null: on the GPU when there is one."""

    contests: dict[str, dict[str, Any]]
    rounds: int
    threads: int
    device: str | None
    seed: int

    def __post_init__(self) -> None:
        require_at_least(self, rounds=1, threads=1, seed=0)


def run(settings: Settings) -> dict[str, Any]:
    """Of every contest, medians [ms], and by which factor ours is faster. Raises NotTheSame."""
    device = prepare(settings.threads, settings.device)
    results: dict[str, Any] = {}
    for name, part in settings.contests.items():
        contest = build(part, seed=settings.seed)
        off = difference(name, contest.ways["plain"], contest.ways["ours"], getattr(contest, "close", CLOSE))
        medians = race(contest.ways, settings.rounds)
        ratio = medians["plain"] / medians["ours"]
        others = "".join(f", {ms:.1f} ms {way}" for way, ms in medians.items() if way != "ours")
        print(f"{name}: {medians['ours']:.1f} ms{others}: {ratio:.2f} times faster than plain")
        results[name] = {"ms": medians, "ratio": ratio, "difference": off}
        if device == "cuda":
            results[name] |= over_floor(name, medians["ours"], contest.works)
    return {
        "device": device,
        "seed": settings.seed,
        "ratios": {name: result["ratio"] for name, result in results.items()},
        "contests": results,
        "rounds": settings.rounds,
        "threads": settings.threads,
    }


def prepare(threads: int, device: str | None) -> str:
    """Where torch makes what is timed: on `device`, or on the GPU when there is one."""
    import torch

    torch.set_num_threads(threads)
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if chosen == "cuda" and not torch.cuda.is_available():
        raise BadSetting("device is cuda, and torch sees no GPU: robomem doctor")
    if chosen == "cuda":
        torch.set_default_device(chosen)
    return chosen


def difference(name: str, plain: Way, ours: Way, close: float = CLOSE) -> float:
    """By how much two ways to compute the same differ, as a share of the largest number. Raises NotTheSame."""
    expected, got = plain().float(), ours().float()
    off = float((expected - got).abs().max() / expected.abs().max())
    if not off <= close:
        raise NotTheSame(f"{name}: the plain way and ours differ by {off:.1e} of the largest number")
    return off


def race(ways: Mapping[str, Way], rounds: int) -> dict[str, float]:
    """Median times [ms] of `rounds` in which each takes its turn; a GPU is done before the next begins."""
    import torch

    settle = torch.cuda.synchronize if torch.cuda.is_available() else bool
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, compute in ways.items():
            settle()
            begun = time.monotonic()
            compute()
            settle()
            taken[name].append((time.monotonic() - begun) * 1e3)
    return {name: median(times) for name, times in taken.items()}


def over_floor(name: str, ms: float, works: Sequence[Work]) -> dict[str, float]:
    """The least time [ms] that the weights of `works` allow on an H200, and how many times it `ms` is."""
    floor = floor_ms(works)
    print(f"{name}: {ms / floor:.2f} times the {floor:.2f} ms that reading and multiplying its weights take on an H200")
    return {"floor_ms": floor, "over_floor": ms / floor}
