"""What MemoryVLA's released code leaves behind: a run folder with `config.json`, `dataset_statistics.json` and
`checkpoints/*.pt`, each a dict of dicts of tensors by module (`save_checkpoint` of its FSDP strategy).

Its names and ours differ by the part they begin with; `PARTS` is the one place that says how.
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from robomem.errors import CheckpointError

PARTS = {
    "compress.": "per_compr.",
    "cognitive_bank.": "cog_mem_bank.",
    "perceptual_bank.": "per_mem_bank.",
    "expert.": "action_model.net.",
    "encoder.": "",  # vision_backbone, projector, llm_backbone
}
"""What our names begin with, and what stands there in upstream's."""

MODULES = ("vision_backbone", "projector", "llm_backbone", "per_compr", "cog_mem_bank", "per_mem_bank", "action_model")
SPARE = "ema_diffusion"  # module of moving averages, which upstream never runs
CHUNK = 1 << 24  # bytes read at a time

Progress = Callable[[str, int, int], None]  # stage, done, of


def upstream_name(name: str) -> str:
    """What upstream calls the weight that is `name` here."""
    ours = next(part for part in PARTS if name.startswith(part))
    return PARTS[ours] + name.removeprefix(ours)


def our_name(name: str) -> str:
    """What is called here what upstream calls `name`."""
    ours, theirs = next((ours, theirs) for ours, theirs in PARTS.items() if name.startswith(theirs))
    return ours + name.removeprefix(theirs)


def read_checkpoint(path: Path, progress: Progress) -> dict[str, Tensor]:
    """Weights by upstream's full names, mapped from the file, so that none is read before it is used.

    Raises CheckpointError when it is not such a file, is torn or has changed since it was written.
    """
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is torn, no checkpoint at all, or one of torch before 1.6, which must be saved anew by a newer one"
        )
    check(path, progress)
    try:
        saved = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except UnpicklingError:
        raise CheckpointError(f"{path} holds more than weights, which may run code: it is not loaded") from None
    except (RuntimeError, OSError) as error:
        raise CheckpointError(f"{path} is no checkpoint: {str(error).splitlines()[0]}") from None
    return flattened(path, saved)


def check(path: Path, progress: Progress) -> None:
    """Raises CheckpointError when a part of the file is not what was written, by its checksum."""
    done, size = 0, path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                with archive.open(part) as file:
                    while read := len(file.read(CHUNK)):
                        done += read
                        progress("check", done, size)
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    progress("check", size, size)


def flattened(path: Path, saved: Any) -> dict[str, Tensor]:
    """The modules of a checkpoint as one dict. Raises CheckpointError when it has others, or lacks one."""
    modules = saved.get("model") if isinstance(saved, Mapping) else None
    if not isinstance(modules, Mapping) or not all(isinstance(weights, Mapping) for weights in modules.values()):
        raise CheckpointError(f"{path} is no checkpoint of upstream: it has no weights by module under 'model'")
    if missing := [name for name in MODULES if name not in modules]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}; a whole MemoryVLA has {', '.join(MODULES)}")
    if unknown := [str(name) for name in modules if name not in (*MODULES, SPARE)]:
        raise CheckpointError(f"{path} has modules that are not known here: {', '.join(unknown)}")
    weights = {f"{module}.{name}": tensor for module in MODULES for name, tensor in modules[module].items()}
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{path}: '{name}' is a {type(tensor).__name__}, no tensor")
    return weights


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises CheckpointError."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"no {path.name} at {path.parent}: a checkpoint stays in its run folder") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise CheckpointError(f"{path} holds no settings by name")
    return told
