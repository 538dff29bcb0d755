"""`robomem convert`, and what it makes at the other commands."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from robomem.cli.main import main
from tests.policies.published.run_folder import OVERRIDES, save_run, upstream_weights
from tests.robomem.cli.call import summary_of

IMAGES = ("robot.image_size=28", "policy.image_size=28", "policy.device=cpu")


def call(upstream: Path, out: Path, *more: str) -> int:
    tokenizer = upstream.parents[1] / "tokenizer"
    return main(["convert", f"upstream={upstream}", f"tokenizer={tokenizer}", *OVERRIDES, *more, f"out={out}"])


def test_a_checkpoint_is_converted_and_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    upstream = save_run(tmp_path / "run", {"model": upstream_weights()})
    assert call(upstream, tmp_path / "out") == 0
    summary = summary_of(tmp_path / "out")
    path = Path(summary["checkpoint"])
    with safe_open(path, "pt") as file:
        numbers = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118  (no mapping)
        assert json.loads(file.metadata()["robomem"])["made_by"]["upstream"] == upstream.name
    assert {tensor.dtype for tensor in numbers} == {torch.bfloat16}
    assert summary["parameters"] == sum(tensor.numel() for tensor in numbers)
    assert summary["bytes"] == path.stat().st_size
    assert "llm_backbone.llm.lm_head.weight" in summary["left_out"] and summary["datasets"] == ["bridge_orig"]
    told = capfd.readouterr().out
    assert re.search(r"check 100/100, convert 100/100", told) and told.splitlines()[-1] == str(tmp_path / "out")
    words = ["run", "policy=published", f"policy.path={path}", "policy.executed=5", *IMAGES, f"out={tmp_path / 'ran'}"]
    assert main([*words, "robot.hz=4", "robot.camera_hz=4"]) == 0
    assert summary_of(tmp_path / "ran")["starved"] == 0


@pytest.mark.parametrize(
    ("damage", "words", "said", "status"),
    [
        ("", (), "upstream must be given: setting=value", 2),
        ("missing", (), "no checkpoint at ", 1),
        ("torn", (), "is torn, no checkpoint at all", 1),
        ("code", (), "holds more than weights", 1),
        ("whole", ("dtype=int8",), "no dtype 'int8'; known: bfloat16, float16, float32", 2),
        ("whole", ("++converter.encoder.size=1",), "unexpected keyword argument 'size'", 2),
        ("whole", ("tokenizer=/dev/null",), "no tokenizer at /dev/null", 1),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: str, words: tuple[str, ...], said: str, status: int
) -> None:
    saved = {"model": upstream_weights()}
    upstream = save_run(tmp_path / "run", saved | ({"more": Path("x")} if damage == "code" else {}))
    if damage == "torn":
        upstream.write_bytes(upstream.read_bytes()[:5000])
    if damage == "missing":
        upstream.unlink()
    out = tmp_path / "out"
    assert (call(upstream, out, *words) if damage else main(["convert", f"out={out}"])) == status
    err = [line for line in capfd.readouterr().err.splitlines() if line.startswith("robomem convert: ")]
    assert len(err) == 1 and said in err[0]
    assert not list(out.glob("policy*")) and not (out / "summary.json").exists()
