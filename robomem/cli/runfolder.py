"""Where one command leaves its results: config.yaml, summary.json, and what the command adds."""

import json
import subprocess
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from robomem.data.durable import write_file
from robomem.errors import RobomemError

VERSIONS_OF = ("robomem", "torch", "mujoco", "numpy", "diffusers", "lerobot", "zarr", "gymnasium", "hydra-core")


class FolderError(RobomemError):
    """The folder for the results cannot be made or written."""


class RunFolder:
    """`outputs/<command>/<stamp>/`, or the folder that the caller named; made at once."""

    def __init__(self, command: str, out: str | None = None) -> None:
        self.command = command
        self.path = Path(out) if out else _new_folder(Path("outputs") / command.split()[0])
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(f"cannot make the folder '{self.path}': {error.strerror}") from None

    def write_config(self, yaml: str) -> None:
        """Keep what was asked for, with every setting."""
        self.write_text("config.yaml", yaml)

    def write_summary(self, result: Mapping[str, Any]) -> None:
        """Keep the result with what made it: command, commit and versions."""
        summary = {"command": self.command, **result, "commit": commit(), "versions": versions()}
        self.write_text("summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a file whole or not at all. Raises FolderError."""
        path = self.path / name
        try:
            write_file(path, text.encode())
        except OSError as error:
            raise FolderError(f"cannot write '{path}': {error.strerror}") from None


def _new_folder(parent: Path) -> Path:
    """A folder name that no other run has: the local date and time, numbered within a second."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for number in range(1, 1000):
        path = parent / (stamp if number == 1 else f"{stamp}_{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise FolderError(f"cannot make the folder '{path}': {error.strerror}") from None
        return path
    raise FolderError(f"a thousand runs in one second in '{parent}'")


def commit() -> str | None:
    """The checked-out commit, with "+changes" when files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=root, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+changes" if changed.returncode else "")


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    installed = {distribution.name.lower(): distribution.version for distribution in metadata.distributions()}
    return {name: installed[name] for name in VERSIONS_OF if name in installed}
