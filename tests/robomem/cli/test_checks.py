"""What doctor finds of published weights, in a cache of Hugging Face's own layout."""

import json
from pathlib import Path

import pytest

from robomem.cli.checks import encoders

NAMES = ("paligemma2", "prismatic", "qwen3_vl", "smolvlm2")
OPENVLA, SMOLVLM = "openvla/openvla-7b", "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"


def put(cache: Path, name: str, **files: str) -> None:
    """Files of a model into `cache`, as a download leaves them: names that point at blobs."""
    repo = cache / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / ("0" * 40)
    for folder in (repo / "blobs", repo / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    (repo / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    for number, (file, content) in enumerate(files.items()):
        blob = repo / "blobs" / f"{number:040x}"
        blob.write_text(content, encoding="utf-8")
        (snapshot / file).symlink_to(Path("..", "..", "blobs", blob.name))


def test_nothing_is_here(tmp_path: Path) -> None:
    for cache in (tmp_path, tmp_path / "none"):
        finding = encoders(0, cache)
        assert not finding.ok and not finding.needed
        assert finding.found.startswith("here: none; not here: ")
        assert all(f"{name} (" in finding.found for name in NAMES)
        assert f"hf download {OPENVLA};" in finding.remedy and "hf auth login" in finding.remedy


def test_what_is_here_is_named_and_not_asked_for(tmp_path: Path) -> None:
    put(tmp_path, SMOLVLM, **{"config.json": "{}", "model.safetensors": "x"})
    finding = encoders(0, tmp_path)
    assert finding.found.startswith(f"here: smolvlm2 ({SMOLVLM}); not here: paligemma2 (")
    assert SMOLVLM not in finding.remedy and not finding.ok


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": "{}"},
        {"model.safetensors": "x"},
        {
            "config.json": "{}",
            "model-00001-of-00002.safetensors": "x",
            "model.safetensors.index.json": json.dumps(
                {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
            ),
        },
    ],
    ids=["no weights", "no sizes", "half of the weights"],
)
def test_half_a_download_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    put(tmp_path, OPENVLA, **files)
    assert encoders(0, tmp_path).found.startswith("here: none;")
    put(tmp_path, SMOLVLM, **{"config.json": "{}", "model.safetensors": "x"})
    assert OPENVLA in encoders(0, tmp_path).remedy


def test_all_shards_are_all(tmp_path: Path) -> None:
    shards = [f"model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    index = {"model.safetensors.index.json": json.dumps({"weight_map": dict(zip("ab", shards, strict=True))})}
    put(tmp_path, OPENVLA, **{"config.json": "{}", **dict.fromkeys(shards, "x"), **index})
    assert f"here: prismatic ({OPENVLA})" in encoders(0, tmp_path).found


def test_folders_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "weights"
    here.mkdir()
    for file in ("config.json", "model.safetensors"):
        (here / file).write_text("{}", encoding="utf-8")
    conf = tmp_path / "conf" / "vlm"
    conf.mkdir(parents=True)
    (conf / "mine.yaml").write_text(f"path: {here}\n", encoding="utf-8")
    monkeypatch.setattr("robomem.cli.checks.ROOT", tmp_path)
    finding = encoders(0, tmp_path)
    assert finding.ok and finding.found == f"here: mine ({here})"
