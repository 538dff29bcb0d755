"""Weights are written one by one and read back by safetensors itself."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from robomem.errors import CheckpointError
from robomem.learn.checkpoints import read_safetensors, write_safetensors

SHAPES = {"a": (2, 3), "of no size": (0, 4), "a number": (), "é": (5,)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_written_is_read_by_safetensors(tmp_path: Path, dtype: torch.dtype) -> None:
    path, tensors = tmp_path / "weights", [torch.randn(shape) for shape in SHAPES.values()]
    tensors[0] = torch.randn(3, 2).T  # not contiguous
    size = write_safetensors(path, SHAPES, dtype, iter(tensors), {"made": 'by "hand"'})
    assert path.stat().st_size == size
    found, told = read_safetensors(path, SHAPES)
    assert told == {"made": 'by "hand"'} and found.keys() == SHAPES.keys()
    for name, tensor in zip(SHAPES, tensors, strict=True):
        assert torch.equal(found[name], tensor.to(dtype))
    with safe_open(path, "pt") as file:
        assert file.get_slice("a").get_shape() == [2, 3]


@pytest.mark.parametrize("tensors", [[torch.zeros(3, 2)], [], [torch.zeros(2, 3)] * 2])
def test_what_was_not_announced_is_not_written(tmp_path: Path, tensors: list[torch.Tensor]) -> None:
    (tmp_path / "weights").write_bytes(b"as before")
    with pytest.raises(ValueError, match=r"announced|zip"):
        write_safetensors(tmp_path / "weights", {"a": (2, 3)}, torch.float32, tensors, {})
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("weights", b"as before")]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot write .*/none/weights: No such file or directory"):
        write_safetensors(tmp_path / "none/weights", {}, torch.float32, [], {})
