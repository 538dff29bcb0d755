"""Times a step of the published network, full banks and one picture, against upstream's arithmetic called from Python.

`robomem bench published`. Random weights at the sizes of MemoryVLA-7B, so a GPU is wanted; there the step is replayed
from CUDA graphs, and compared with the least time in which an H200 can read and multiply the weights.
"""

from typing import Any

from robomem.cli import contests
from robomem.cli.contests import Settings
from robomem.cli.runfolder import RunFolder

__all__ = ["Settings", "run"]


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """Medians and ratios."""
    return contests.run(settings)
