"""Times how an action chunk is denoised, against a plain formulation of upstream's arithmetic with the same numbers.

`robomem bench sampler`. Ten guided steps at the paper's sizes, random weights, one session.
"""

from typing import Any

from robomem.cli import contests
from robomem.cli.contests import Settings
from robomem.cli.runfolder import RunFolder

__all__ = ["Settings", "run"]


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """Medians and ratios."""
    return contests.run(settings)
