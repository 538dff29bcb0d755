"""Published weights: a folder on disk, or a name on the Hugging Face hub. Safetensors only."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from robomem.errors import CheckpointError
from robomem.learn.checkpoints import read_safetensors

ROWS = 4  # of every tensor, that are looked at to tell weights apart
WANTED = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt")


def folder_of(path: str | Path) -> Path:
    """The folder of `path`; what is no folder is a name on the hub, downloaded where the cache lacks it.

    Raises CheckpointError.
    """
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(path), allow_patterns=list(WANTED)))
    except HFValidationError:
        raise CheckpointError(f"no folder {path}") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        said = str(error).splitlines()[0]
        raise CheckpointError(f"no folder {path}, and the hub gives nothing of that name: {said}") from None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, of one file or many. Raises CheckpointError."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"no *.safetensors in {folder}")
    return {name: tensor for file in files for name, tensor in read_safetensors(file)[0].items()}


def fingerprint(folder: Path) -> bytes:
    """32 bytes that differ for other weights: names, kinds, shapes, and the first and last rows of every tensor; what
    was fine-tuned differs there too, and gigabytes are not read. Raises CheckpointError."""
    of_each = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                of_each |= {name: _ends(file, name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is truncated or no safetensors file: {error}") from None
    if not of_each:
        raise CheckpointError(f"no *.safetensors in {folder}")
    return hashlib.sha256(b"".join(name.encode() + of_each[name] for name in sorted(of_each))).digest()


def _ends(file: Any, name: str) -> bytes:
    """Kind, shape, first and last rows of a tensor; a lone number as it is."""
    tensor = file.get_slice(name)
    kind, shape = tensor.get_dtype(), tensor.get_shape()
    rows = torch.cat([tensor[:ROWS], tensor[-ROWS:]]) if shape else file.get_tensor(name)
    return f"{kind}{shape}".encode() + rows.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
