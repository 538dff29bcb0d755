"""Upstream's checkpoints become ours: the numbers stay, little memory is taken, what is none is refused in words."""

import json
import os
import resource
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from policies.published.convert import convert
from policies.published.upstream import our_name, upstream_name
from robomem.errors import CheckpointError, RobomemError
from tests.policies.published.run_folder import CONFIG, ENCODER, EXPERTS, STATISTICS, save_run, upstream_weights


def converted(upstream: Path, folder: Path, dtype: str = "float32", experts: Any = EXPERTS) -> Path:
    """What is made of a checkpoint, in `folder`."""
    folder.mkdir(exist_ok=True)
    path, words = folder / "policy.safetensors", str(upstream.parents[1] / "tokenizer")
    convert(upstream, path, dtype, words, ENCODER, experts, {"command": "test"}, lambda stage, done, of: None)
    return path


def flat(modules: dict[str, OrderedDict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{module}.{name}": tensor for module, tensors in modules.items() for name, tensor in tensors.items()}


def test_every_weight_that_is_used_is_there_to_the_bit(tmp_path: Path) -> None:
    saved = upstream_weights()
    tensors = load_file(converted(save_run(tmp_path, {"model": saved}), tmp_path / "out"))
    theirs = flat(saved)
    for name, tensor in tensors.items():
        assert torch.equal(tensor, theirs.pop(upstream_name(name))), name
    unused = ("dino_featurizer.blocks.2.", "dino_featurizer.norm.", "siglip_featurizer.blocks.2.")
    unused += ("siglip_featurizer.norm.", "siglip_featurizer.attn_pool.")
    assert theirs.keys() == {
        *(name for name in flat(saved) if name.startswith(tuple(f"vision_backbone.{part}" for part in unused))),
        "llm_backbone.llm.lm_head.weight",
    }


def test_names_go_both_ways() -> None:
    names = list(flat(upstream_weights()))
    assert [upstream_name(our_name(name)) for name in names] == names
    assert len(set(map(our_name, names))) == len(names)


def test_the_same_checkpoint_gives_the_same_file(tmp_path: Path) -> None:
    upstream = save_run(tmp_path, {"model": upstream_weights()})
    one, other = (converted(upstream, tmp_path / name, "bfloat16").read_bytes() for name in ("one", "other"))
    assert one == other


def test_half_the_precision_is_half_the_file(tmp_path: Path) -> None:
    upstream = save_run(tmp_path, {"model": upstream_weights()})
    whole, half = (converted(upstream, tmp_path / name, name) for name in ("float32", "bfloat16"))
    full, short = load_file(whole), load_file(half)
    assert all(torch.equal(tensor, full[name].bfloat16()) for name, tensor in short.items())
    assert len(short) == len(full)
    numbers = 2 * sum(tensor.numel() for tensor in full.values())
    assert whole.stat().st_size - half.stat().st_size == pytest.approx(numbers, rel=1e-2)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    upstream = save_run(tmp_path, {"model": upstream_weights()}, CONFIG | {"update_fused": True, "mem_length": 9})
    with safe_open(converted(upstream, tmp_path / "out"), "pt") as file:
        told = json.loads(file.metadata()["robomem"])
    assert told["config"]["written"] == "fused" and told["config"]["slots"] == 9
    assert (told["config"]["expert"]["horizon"], told["config"]["expert"]["heads"]) == (5, 3)
    assert told["ranges"]["bridge_orig"]["low"] == STATISTICS["bridge_orig"]["action"]["q01"]
    assert told["made_by"] == {"upstream": upstream.name, "command": "test"}


class Runs:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path: Path) -> None:
    upstream = save_run(tmp_path, {"model": upstream_weights(), "more": Runs(tmp_path / "trace")})
    with pytest.raises(CheckpointError, match="holds more than weights"):
        converted(upstream, tmp_path / "out")
    assert not (tmp_path / "trace").exists()
    assert not list((tmp_path / "out").glob("policy*"))


def without(name: str) -> Any:
    module, key = name.split(".", 1)
    saved = upstream_weights()
    del saved[module][key]
    return {"model": saved}


def with_weight(name: str, tensor: Any) -> Any:
    module, key = name.split(".", 1)
    saved = upstream_weights()
    saved.setdefault(module, OrderedDict())[key] = tensor
    return {"model": saved}


GATE = "per_mem_bank.gate_fusion_blocks.proj.bias"
VLM_ONLY = ("vision_backbone", "projector", "llm_backbone")


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (lambda: [1, 2], "no weights by module under 'model'"),
        (lambda: {"weights": {}}, "no weights by module under 'model'"),
        (lambda: {"model": {"a": torch.zeros(1)}}, "no weights by module under 'model'"),
        (
            lambda: {"model": {k: upstream_weights()[k] for k in VLM_ONLY}},
            "lacks per_compr, cog_mem_bank, per_mem_bank,",
        ),
        (lambda: with_weight("world_model.a", torch.zeros(1)), "modules that are not known here: world_model"),
        (lambda: without(GATE), f"lacks {GATE}"),
        (lambda: with_weight("action_model.net.blocks.2.norm3.bias", torch.zeros(24)), "blocks.2.norm3.bias"),
        (lambda: with_weight("per_compr.extra", torch.zeros(1)), "weights that are not known here: per_compr.extra"),
        (lambda: with_weight(GATE, torch.zeros(17)), rf"'{GATE}' is \(17,\), the network expects \(16,\)"),
        (lambda: with_weight(GATE, 3), f"'{GATE}' is a int, no tensor"),
        (lambda: with_weight(GATE, torch.full((16,), torch.nan)), f"'{GATE}' is not finite"),
    ],
)
def test_what_is_no_whole_checkpoint_is_named(tmp_path: Path, saved: Any, said: str) -> None:
    upstream = save_run(tmp_path, saved())
    with pytest.raises(CheckpointError, match=said) as caught:
        converted(upstream, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1
    assert not list((tmp_path / "out").glob("policy*"))


def test_moving_averages_are_passed_over(tmp_path: Path) -> None:
    saved = upstream_weights()
    converted(save_run(tmp_path, {"model": saved | {"ema_diffusion": saved["action_model"]}}), tmp_path / "out")


@pytest.mark.parametrize(
    ("config", "statistics", "said"),
    [
        ({"fusion_type": "add"}, STATISTICS, "trained with fusion_type=add"),
        ({"retrieval_layers": 3}, STATISTICS, "trained with retrieval_layers=3"),
        ({"action_model_type": "DiT-XL"}, STATISTICS, "no action expert 'DiT-XL'; known: DiT-L"),
        ({"mem_length": "many"}, STATISTICS, "config.json: "),
        ({"per_token_size": 32}, STATISTICS, "the network expects"),
        ({}, {"bridge_orig": {"action": {"mean": []}}}, "statistics without a range of actions: KeyError 'q01'"),
        ({}, {"bridge_orig": {"action": {"q01": [0.0] * 14, "q99": [1.0] * 14}}}, "statistics of 14 numbers an action"),
        ({}, {"bridge_orig": {"action": {"q01": [0.0] * 7, "q99": [float("nan")] * 7}}}, "expected 7 finite ones"),
    ],
)
def test_what_another_run_was_told_is_named(tmp_path: Path, config: Any, statistics: Any, said: str) -> None:
    upstream = save_run(tmp_path, {"model": upstream_weights()}, CONFIG | config, statistics)
    with pytest.raises(RobomemError, match=said) as caught:
        converted(upstream, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1


def damaged(path: Path, how: str) -> None:
    """Does to the checkpoint at `path` what the word says."""
    content = path.read_bytes()
    if how == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif how == "changed":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + b"\x13" * 64 + content[middle + 64 :])
    elif how == "foreign":
        path.write_bytes(b"not numbers" * 100)
    elif how == "old":
        torch.save({"model": upstream_weights()}, path, _use_new_zipfile_serialization=False)
    elif how == "missing":
        path.unlink()
    else:
        (path.parents[1] / how).unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("torn", "is torn, no checkpoint at all, or one of torch before 1.6"),
        ("foreign", "is torn, no checkpoint at all"),
        ("old", "torch before 1.6"),
        ("changed", "is damaged: Bad CRC-32"),
        ("missing", "no checkpoint at "),
        ("config.json", "no config.json at "),
        ("dataset_statistics.json", "no dataset_statistics.json at "),
    ],
)
def test_a_damaged_run_folder_is_named(tmp_path: Path, how: str, said: str) -> None:
    upstream = save_run(tmp_path, {"model": upstream_weights()})
    damaged(upstream, how)
    with pytest.raises(CheckpointError, match=said) as caught:
        converted(upstream, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1


def test_a_disk_that_fills_half_way_leaves_nothing_and_what_was_there(tmp_path: Path) -> None:
    upstream = save_run(tmp_path, {"model": upstream_weights()})
    before = converted(upstream, tmp_path / "out", "bfloat16").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))  # bytes of a file, less than the weights take
    try:
        with pytest.raises(CheckpointError, match=r"cannot write .*: File too large"):
            converted(upstream, tmp_path / "out", "float32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "out/policy.safetensors").read_bytes() == before
    assert not list((tmp_path / "out").glob("*.partial"))


def test_no_room_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = save_run(tmp_path, {"model": upstream_weights()})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(CheckpointError, match=r"has 0.00 GB free, the weights take"):
        converted(upstream, tmp_path / "out")


def memory(line: str) -> int:
    """Bytes, from a line of /proc/self/status."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(words for words in status if words.startswith(line)).split()[1])


def test_a_large_checkpoint_is_never_held_twice(tmp_path: Path) -> None:
    wide = {"DiT-L": {"layers": 4, "dim": 1024, "heads": 16}}
    weights = upstream_weights(wide)  # alive to the end, so that nothing reuses the memory they had
    upstream = save_run(tmp_path, {"model": weights})
    size = upstream.stat().st_size
    assert size > 250e6  # bytes
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew (proc(5))
    before = memory("VmRSS")
    path = converted(upstream, tmp_path / "out", "bfloat16", wide)
    peak = memory("VmHWM") - before
    assert path.stat().st_size > 0.48 * size
    assert peak < 1.15 * size  # with the mapped pages of the file, which the system may take back at any time
    held = peak - size  # the file was read to its end, so all of it was mapped
    assert held < 3 * max(tensor.nbytes for tensors in weights.values() for tensor in tensors.values())
