"""Times a step of a full memory at the paper's sizes: upstream's two banks, plainly and in compatible mode, and native
memory; then native memory in an episode that goes on and on, and many sessions in one step.

`robomem bench memory`. Random weights, one session unless said otherwise.
"""

from dataclasses import dataclass
from statistics import median
from typing import Any

from robomem.cli.build import build
from robomem.cli.configuration import require_at_least
from robomem.cli.contests import difference, over_floor, prepare, race
from robomem.cli.runfolder import RunFolder

WINDOW = 100  # steps whose median is taken


@dataclass
class Settings:
    """The `memory` that is timed, on `threads`; an episode of `growth` steps; `sessions` in one step."""

    memory: dict[str, Any]
    rounds: int
    growth: int
    sessions: int
    threads: int
    device: str | None
    seed: int

    def __post_init__(self) -> None:
        require_at_least(self, rounds=1, growth=2 * WINDOW, sessions=1, threads=1, seed=0)


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """Medians and ratios."""
    device = prepare(settings.threads, settings.device)
    contest = build(settings.memory, seed=settings.seed)
    lengths = sorted(int(name.removeprefix("plain_L")) for name in contest.ways if name.startswith("plain_"))
    off = {
        f"L{length}": difference(
            f"L = {length}", contest.ways[f"plain_L{length}"], contest.ways[f"compatible_L{length}"]
        )
        for length in lengths
    }
    ms = race(contest.ways, settings.rounds)
    for name, taken in ms.items():
        print(f"{name:16} {taken:8.1f} ms")
    shortest, longest = (f"L{length}" for length in (lengths[0], lengths[-1]))
    ratios = {f"compatible_{at}": ms[f"plain_{at}"] / ms[f"compatible_{at}"] for at in (shortest, longest)}
    for kind in ("compatible", "native", "plain"):
        ratios[f"{kind}_{longest}_over_{shortest}"] = ms[f"{kind}_{longest}"] / ms[f"{kind}_{shortest}"]
    ratios["native_over_compatible"] = ms[f"compatible_{shortest}"] / ms[f"native_{shortest}"]
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}")
    floors = (
        {name: over_floor(name, ms[name], works) for name, works in contest.works.items()} if device == "cuda" else {}
    )
    return {
        "device": device,
        "floors": floors,
        "seed": settings.seed,
        "ratios": ratios,
        "ms": ms,
        "difference": off,
        "parameters": contest.parameters,
        "growth": growth(contest, settings.growth),
        "sessions": sessions(contest, settings.sessions),
        "rounds": settings.rounds,
        "threads": settings.threads,
    }


def growth(contest: Any, steps: int) -> list[dict[str, float]]:
    """How long a step takes and how much is held as an episode grows: at 100 steps, at ten times as many, and so on."""
    taken, rows = [], []
    for step, seconds, held in contest.grow(steps):
        taken.append(seconds * 1e3)
        if step + 1 == steps or (step + 1) in {WINDOW * 10**k for k in range(9)}:
            rows.append({"steps": step + 1, "ms": median(taken[-WINDOW:]), "bytes": held})
            print(f"after {step + 1} steps: {rows[-1]['ms']:.2f} ms a step, {held / 1e6:.2f} MB held")
    return rows


def sessions(contest: Any, count: int) -> dict[str, float]:
    """Many sessions in one step."""
    off, together, alone = contest.batched(count, steps=20)
    print(f"{count} sessions: {together:.0f} steps a second batched, {alone:.0f} one by one; they differ by {off:.1e}")
    return {"count": count, "difference": off, "batched_per_s": together, "single_per_s": alone}
