"""Says what this machine can do, and for each thing that is missing what it is for and what to install.

Exit status 0 unless something is missing that the demo and the tests need.
"""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from robomem.cli.checks import CHECKS, Finding
from robomem.cli.configuration import require_at_least
from robomem.cli.runfolder import RunFolder


@dataclass
class Settings:
    """`min_disk_gb`: free space [GB] below which the disk counts as missing."""

    min_disk_gb: float

    def __post_init__(self) -> None:
        require_at_least(self, min_disk_gb=0)


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """Every check, printed as it is made."""
    console = Console(highlight=False)
    findings = []
    for check in CHECKS:
        finding = check(settings.min_disk_gb)
        show(console, finding)
        findings.append(finding)
    missing = [finding.name for finding in findings if finding.needed and not finding.ok]
    console.print(f"needed and missing: {', '.join(missing)}" if missing else "everything needed is here")
    return {"checks": [asdict(finding) for finding in findings], "missing": missing, "exit_code": 1 if missing else 0}


def show(console: Console, finding: Finding) -> None:
    """One line for what is there, three for what is not."""
    mark = "[green]ok     [/]" if finding.ok else "[red]missing[/]" if finding.needed else "[yellow]absent [/]"
    console.print(f"{mark} [bold]{finding.name:20}[/]", end=" ")
    console.print(finding.found, markup=False, soft_wrap=True)
    if not finding.ok:
        for word, text in (("for:", finding.purpose), ("do: ", finding.remedy)):
            console.print(f"        {word} {text}", markup=False, soft_wrap=True)
