"""Random windows of episodes a second: this store against LeRobotDataset v3 that holds the same content.

`robomem bench data`, or with store=DIR on episodes of your own. Each window is pictures of both cameras and a chunk of
actions; LeRobot is measured with videos and with images, and its better one counts.
"""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from robomem.cli.configuration import require_above_zero, require_at_least
from robomem.cli.runfolder import RunFolder


@dataclass
class Settings:
    """Which `store`, or how much is made up, and how long each is read."""

    store: str | None
    rounds: int
    seconds: float
    episodes: int
    ticks: int
    seed: int

    def __post_init__(self) -> None:
        require_at_least(self, rounds=1, episodes=1, ticks=20, seed=0)
        require_above_zero(self, "seconds")


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """Rates and their ratios."""
    from robomem.data.benchmark import bench_data

    console = Console(highlight=False)
    result = bench_data(**asdict(settings), progress=lambda sentence: console.print(sentence, markup=False))
    console.print(
        f"{result['windows_per_s']:.0f} windows a second, {result['ratios']['over_lerobot']:.1f} times LeRobot's"
    )
    return {"seed": settings.seed, **result}
