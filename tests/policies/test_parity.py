"""Compatible mode gives upstream's numbers: the released code's, and at any size the plain formulation's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from policies.memoryvla.parity import Sizes, differences, main
from robomem.memory.compatible import CompatibleBank
from tests.policies.parity_file import save_parity_file

UPSTREAM = sorted((Path(__file__).parent / "upstream").glob("*.safetensors"))
SMALL = Sizes(
    visual_dim=20,
    se_mid=16,
    perceptual_dim=16,
    perceptual_tokens=4,
    cognition_dim=24,
    mem_length=3,
    hidden=24,
    depth=2,
    heads=3,
    chunk=5,
    steps=9,
    update_fused=True,
)


@pytest.mark.parametrize("path", UPSTREAM, ids=lambda path: path.stem)
def test_numbers_of_the_released_code(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(told["largest_difference"]) == sorted(name for name in load_file(path) if name.startswith("out."))
    assert told["wrong"] == [] and max(told["largest_difference"].values()) < 1e-4


def test_both_files_were_found() -> None:
    assert len(UPSTREAM) == 2


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_numbers_of_the_plain_formulation_at_any_size(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    heads = data.draw(st.integers(1, 4))
    sizes = Sizes(
        visual_dim=data.draw(st.integers(3, 40)),
        se_mid=16 * data.draw(st.integers(1, 3)),
        perceptual_dim=8 * data.draw(st.integers(1, 5)),
        perceptual_tokens=data.draw(st.integers(1, 4)) ** 2,
        cognition_dim=8 * data.draw(st.integers(1, 6)),
        mem_length=data.draw(st.integers(1, 6)),
        hidden=4 * heads * data.draw(st.integers(1, 4)),
        depth=data.draw(st.integers(1, 4)),
        heads=heads,
        chunk=data.draw(st.integers(1, 20)),
        steps=data.draw(st.integers(1, 40)),
        update_fused=data.draw(st.booleans()),
    )
    path = tmp_path_factory.mktemp("parity") / "file.safetensors"
    _, wrong = differences(save_parity_file(path, sizes, seed=data.draw(st.integers(0, 99))))
    assert wrong == []


@pytest.mark.parametrize("update_fused", [False, True])
def test_a_long_episode_does_not_drift(tmp_path: Path, update_fused: bool) -> None:
    sizes = replace(SMALL, steps=400, update_fused=update_fused)
    assert differences(save_parity_file(tmp_path / "long.safetensors", sizes, seed=1))[1] == []


@pytest.mark.parametrize(
    "name",
    [
        "weights.per_compr.excite.3.bias",
        "weights.per_mem_bank.retrieval_blocks.1.v_proj.bias",
        "weights.cog_mem_bank.timestep_encoder.mlp.2.weight",
        "weights.action_model.net.blocks.1.per_attn.in_proj_weight",
        "in.noise",
    ],
)
def test_another_weight_is_another_number(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = save_parity_file(tmp_path / "file.safetensors", SMALL, seed=2)
    with safe_open(path, "pt") as file:
        about = file.metadata()
    tensors = load_file(path)
    tensors[name].view(-1)[0] += 1.0  # of one: a norm takes away what is the same for all
    save_file(tensors, path, metadata=about)
    assert main([str(path)]) == 1
    assert json.loads(capsys.readouterr().out)["wrong"]


@pytest.mark.parametrize(
    "damage",
    [
        "missing",
        "truncated",
        "foreign",
        "no sizes",
        "a weight less",
        "an input less",
        "an input too small",
        "another output",
    ],
)
def test_what_is_no_parity_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    path = tmp_path / "file.safetensors"
    if damage != "missing":
        save_parity_file(path, SMALL, seed=3)
        with safe_open(path, "pt") as file:
            about = file.metadata()
        tensors = load_file(path)
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[:1000])
        elif damage == "foreign":
            path.write_bytes(b"not numbers")
        else:
            if damage == "a weight less":
                del tensors["weights.per_compr.expand.weight"]
            if damage == "an input less":
                del tensors["in.noise"]
            if damage == "an input too small":
                tensors["in.visual"] = tensors["in.visual"][:, :3].clone()
            if damage == "another output":
                tensors["out.dit.extra"] = torch.zeros(1)
            save_file(tensors, path, metadata=None if damage == "no sizes" else about)
    assert main([str(path)]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("parity: ") and len(told.err.splitlines()) == 1


def test_what_is_not_a_number_is_wrong_and_the_line_is_still_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_parity_file(tmp_path / "file.safetensors", SMALL, seed=2)
    with safe_open(path, "pt") as file:
        about = file.metadata()
    tensors = load_file(path)
    tensors["in.noise"][0, 0, 0] = torch.nan
    tensors["out.perceptual"] = tensors["out.perceptual"][1:].clone()
    save_file(tensors, path, metadata=about)
    assert main([str(path)]) == 1
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert {"out.dit.eps", "out.perceptual"} <= set(told["wrong"])
    assert told["largest_difference"]["out.dit.eps"] is None


def test_sessions_together_are_as_each_alone() -> None:
    torch.manual_seed(0)
    bank = CompatibleBank(dim=16, tokens=4, slots=3, write_fused=True)
    lengths = [0, 1, 3, 8]  # that each session has seen before
    alone = []
    for length in lengths:
        held = bank.empty()
        for k in range(length):
            _, held = bank(held, torch.randn(1, 4, 16), torch.tensor([float(k)]))
        alone.append(held)
    names = alone[0].tensors()
    together = replace(alone[0], **{name: torch.cat([held.tensors()[name] for held in alone]) for name in names})
    for k in range(6):
        x, t = torch.randn(len(lengths), 4, 16), torch.tensor([float(length + k) for length in lengths])
        fused, together = bank(together, x, t)
        for session in range(len(lengths)):
            of_it = slice(session, session + 1)
            mine, alone[session] = bank(alone[session], x[of_it], t[of_it])
            assert torch.allclose(fused[of_it], mine, atol=1e-5)
            for name, tensor in alone[session].tensors().items():
                assert torch.allclose(together.tensors()[name][of_it], tensor, atol=1e-5), name


@pytest.mark.parametrize("poison", [1e6, float("nan"), float("inf")])
def test_empty_slots_cannot_leak(poison: float) -> None:
    torch.manual_seed(0)
    bank = CompatibleBank(dim=16, tokens=4, slots=3, write_fused=False)
    clean = bank.empty(sessions=2)
    x = torch.randn(9, 2, 4, 16)
    _, clean = bank(clean, x[0], torch.zeros(2))
    dirty = replace(clean, tokens=clean.tokens.where(clean.filled.unsqueeze(-1), poison))
    for k in range(1, 9):
        fused, clean = bank(clean, x[k], torch.full((2,), float(k)))
        same, dirty = bank(dirty, x[k], torch.full((2,), float(k)))
        assert torch.equal(fused, same)
