"""Files are written whole or not at all, and anyone who may read new files may read them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from robomem.data.durable import PARTIAL, cut_torn_line, replace_file


def test_a_file_is_replaced_and_as_readable_as_any_new_one(tmp_path: Path) -> None:
    path, plain = tmp_path / "weights.safetensors", tmp_path / "plain"
    plain.touch()
    for value in (1.0, 2.0):
        replace_file(path, lambda file, value=value: save_file({"w": torch.tensor([value])}, file))
        assert load_file(path)["w"].item() == value
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(tmp_path.iterdir()) == [plain, path]


def test_what_a_kill_left_of_a_write_is_no_part_of_the_next(tmp_path: Path) -> None:
    path, left = tmp_path / "weights", tmp_path / f"weights{PARTIAL}"
    left.write_bytes(b"half of what was to come")
    left.chmod(0o400)
    replace_file(path, lambda file: file.write_bytes(b"new"))
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o200
    assert list(tmp_path.iterdir()) == [path]


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


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("a\nb\n", "a\nb\n"), ("a\nb", "a\n"), ('{"torn', ""), ("a\n\n", "a\n\n")]
)
def test_only_a_line_that_was_not_finished_is_cut(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "log"
    cut_torn_line(path)
    assert not path.exists()
    path.write_text(before)
    cut_torn_line(path)
    assert path.read_text() == after
