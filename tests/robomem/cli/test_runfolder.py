"""The folder of one run."""

import json
from pathlib import Path

import pytest

from robomem.cli.runfolder import FolderError, RunFolder


def test_two_runs_in_one_second_get_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {RunFolder("run").path for _ in range(5)}
    assert len(paths) == 5
    assert all(path.parent == Path("outputs/run") and path.is_dir() for path in paths)


def test_a_summary_says_what_made_it(tmp_path: Path) -> None:
    RunFolder("run", str(tmp_path)).write_summary({"seed": 3, "success": True})
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert (summary["command"], summary["seed"], summary["success"]) == ("run", 3, True)
    assert len(summary["commit"].removesuffix("+changes")) == 40
    assert {"torch", "mujoco", "numpy"} <= set(summary["versions"])


def test_a_summary_that_is_not_json_leaves_the_old_one(tmp_path: Path) -> None:
    folder = RunFolder("run", str(tmp_path))
    folder.write_summary({"success": True})
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_summary({"success": float("nan")})
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["success"] is True


def test_a_failed_write_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = RunFolder("run", str(tmp_path))
    folder.write_text("kept", "old")
    (tmp_path / "blocked").mkdir()
    with pytest.raises(FolderError, match="cannot write"):
        folder.write_text("blocked", "new")
    assert (tmp_path / "kept").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocked", "kept"]


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FolderError, match=r"cannot make the folder '.*file'"):
        RunFolder("run", str(tmp_path / "file"))
