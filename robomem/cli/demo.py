"""A first look: the shipped policy on every task, with its memory and without, and a page that shows it remember.

`make demo`, or `robomem demo`. At most five minutes on two cores; the page is report.html in the folder that is printed
last.
"""

from typing import Any

from robomem.cli import eval as evaluation
from robomem.cli.eval import Settings
from robomem.cli.runfolder import RunFolder

__all__ = ["Settings", "run"]


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """A small evaluation with its stories."""
    from robomem.report.values import DemoReport

    result = evaluation.evaluate(settings, folder, DemoReport)
    print(f"open {folder.path / 'report.html'}")
    return result
