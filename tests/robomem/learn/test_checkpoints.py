"""Weights are written whole or not at all, and anyone who may read new files may read them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from robomem.learn.checkpoints import replace_file


def test_a_file_is_replaced_and_as_readable_as_any_new_one(tmp_path: Path) -> None:
    path, plain = tmp_path / "weights.safetensors", tmp_path / "plain"
    plain.touch()
    for value in (1.0, 2.0):
        replace_file(path, lambda file, value=value: save_file({"w": torch.tensor([value])}, file))
        assert load_file(path)["w"].item() == value
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(tmp_path.iterdir()) == [plain, path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    replace_file(path, lambda file: save_file({"w": torch.tensor([1.0])}, file))

    def broken(file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_file(path, broken)
    assert load_file(path)["w"].item() == 1.0
    assert list(tmp_path.iterdir()) == [path]
