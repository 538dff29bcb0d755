"""Weights on disk: safetensors only."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from robomem.data.durable import replace_file
from robomem.errors import CheckpointError

CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
ALIGNMENT = 8  # bytes, where the numbers of a file begin


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


def write_safetensors(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: torch.dtype,
    tensors: Iterable[Tensor],
    metadata: Mapping[str, str],
) -> int:
    """Write `tensors`, those of `shapes` in that order, each as it comes: one at a time is held; the size in bytes.

    The container is 8 bytes, the length of a JSON header, little-endian; the header, for every tensor its type, shape
    and place; then the numbers (https://github.com/huggingface/safetensors, "Format"). `path` is whole or as it was.
    Raises CheckpointError when it cannot be written, ValueError when a tensor has another shape.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % ALIGNMENT)

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            file.write(len(told).to_bytes(8, "little") + told)
            for (name, shape), tensor in zip(shapes.items(), tensors, strict=True):
                if tuple(tensor.shape) != shape:
                    raise ValueError(f"'{name}' is {tuple(tensor.shape)}, announced as {shape}")
                file.write(tensor.to(dtype).contiguous().flatten().view(torch.uint8).numpy())

    try:
        replace_file(path, write)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}") from None
    return 8 + len(told) + end
