"""Turns a checkpoint of MemoryVLA's released code into one of ours, policy.safetensors in the results' folder.

`robomem convert upstream=RUN/checkpoints/NAME.pt`. Reads config.json and dataset_statistics.json of the same RUN.
Weights are read and written one by one; a file that would run code when it is loaded is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robomem.cli.progress import Shown
from robomem.cli.runfolder import RunFolder, commit

PERCENT = 100
STAGES = ("check", "convert")


@dataclass
class Settings:
    """What `converter` makes of `upstream`."""

    upstream: str
    tokenizer: str
    dtype: str
    converter: dict[str, Any]


def run(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """The checkpoint and its size."""
    from robomem.cli.build import build

    path = folder.path / "policy.safetensors"
    done = dict.fromkeys(STAGES, 0)
    with Shown(dict.fromkeys(STAGES, PERCENT)) as shown:

        def progress(stage: str, part: int, of: int) -> None:
            now = PERCENT * part // of
            shown.advance(stage, steps=now - done[stage])
            done[stage] = now

        result: dict[str, Any] = build(
            settings.converter,
            upstream=Path(settings.upstream),
            path=path,
            dtype=settings.dtype,
            tokenizer=settings.tokenizer,
            made_by={"command": "convert", "commit": commit()},
            progress=progress,
        )
    print(f"{result['parameters'] / 1e9:.2f} billion weights, {result['bytes'] / 1e9:.2f} GB")
    return {"checkpoint": str(path), **result}
