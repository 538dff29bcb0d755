"""Weights on disk: safetensors only."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from robomem.errors import CheckpointError


def read_safetensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file.

    Raises CheckpointError when it is missing or torn, or when a tensor of `shapes` is missing or has another shape.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; train one with: robomem train")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated or no safetensors file: {error}") from None
    for name, shape in (shapes or {}).items():
        if name not in tensors:
            raise CheckpointError(f"{path} has no tensor '{name}': it belongs to another network")
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(f"{path}: '{name}' is {tuple(tensors[name].shape)}, the network expects {shape}")
    return tensors, metadata
