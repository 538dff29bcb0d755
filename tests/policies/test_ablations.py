"""`robomem train ablation=NAME`: each takes one thing away, trains, and its checkpoint runs."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from policies.action.dit import Condition
from policies.action.incontext import InContextConfig, InContextDiT
from policies.memoryvla.batches import Batches
from policies.memoryvla.checkpoint import load_checkpoint
from policies.memoryvla.frames import prepare
from policies.memoryvla.model import MemoryVLA
from policies.memoryvla.normalize import Normalizer
from policies.memoryvla.train import TrainConfig, train
from robomem.cli.configuration import CONF, compose_raw
from robomem.learn.trainer import TrainerConfig
from tests.policies.demonstrations import SMALL, panda, stores

NAMES = sorted(path.stem for path in (CONF / "ablation").glob("*.yaml"))
STEPS = TrainerConfig(steps=3, lr=1e-2, warmup=1)


def composed(name: str) -> TrainConfig:
    config: TrainConfig = instantiate(compose_raw("train", [f"ablation={name}"]).method, _convert_="object").keywords[
        "config"
    ]
    return config


def flat(config: Any) -> dict[str, Any]:
    return {
        f"{name}.{key}": value
        for name, part in {"train": asdict(config), "bank": asdict(config.model.bank)}.items()
        for key, value in part.items()
        if key not in ("model", "seed")
    }


def small(config: TrainConfig) -> TrainConfig:
    """The same at sizes that train in a second."""
    less = {"held_tokens": 2, "held_dim": 8}
    bank = replace(config.model.bank, slots=4, tokens=8, perceptual_dim=16, cognitive_dim=32)
    bank = replace(bank, **{name: value for name, value in less.items() if getattr(bank, name, 0)})
    return replace(
        config,
        model=replace(SMALL, bank=bank),
        see=STEPS,
        remember=STEPS,
        act=STEPS,
        more_chunks=16,
        frames=8,
        episodes=4,
        chunks=16,
        group=min(config.group, 6),
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("none", "compatible", "group")])
def test_an_ablation_changes_one_thing(name: str) -> None:
    was, now = flat(composed("none")), flat(composed(name))
    assert was.keys() == now.keys()
    assert len({key for key in was if was[key] != now[key]}) == 1


@pytest.mark.parametrize("name", ["compatible", "group", "stuck", "summary"])
def test_an_ablation_trains_and_its_checkpoint_runs(tmp_path: Path, name: str) -> None:
    config = small(composed(name))
    model, _, made_by = load_checkpoint(train(config, stores(tmp_path / "demos"), panda(), tmp_path / "run", {}))
    assert model.config.bank == config.model.bank and made_by["training"]["group"] == config.group
    torch.manual_seed(0)
    untrained, memory = MemoryVLA(config.model), model.bank.empty()
    changed = [
        not torch.allclose(weight, untrained.state_dict()[key], atol=1e-3)
        for key, weight in model.bank.state_dict(prefix="bank.").items()
    ]
    assert any(changed)
    for step in range(6):
        *fused, memory = model.bank(memory, torch.randn(1, 1, 32), torch.randn(1, 8, 16), torch.tensor([0.4 * step]))
    assert all(bool(part.isfinite().all()) for part in fused) and memory.length.tolist() == [4]


@pytest.mark.parametrize("name", ["none", "stuck"])
def test_attention_that_starts_at_zero_stays_there(tmp_path: Path, name: str) -> None:
    config = small(composed(name))
    model, _, _ = load_checkpoint(train(config, stores(tmp_path / "demos"), panda(), tmp_path / "run", {}))
    for block in model.expert.blocks:
        keys = block.key_value.weight[: block.query.weight.shape[0]]
        stuck = not block.query.weight.any() and not keys.any()
        assert stuck is (name == "stuck")


def test_a_group_is_frames_of_one_episode_in_order(tmp_path: Path) -> None:
    table = prepare(stores(tmp_path / "demos"), panda(), SMALL, tmp_path / "frames")
    normalizer = Normalizer.fit(np.asarray(table.proprio, np.float64), np.asarray(table.actions, np.float64))
    batches = Batches(table, None, normalizer, torch.device("cpu"))
    rolls = batches.rolls(40, 4, torch.Generator().manual_seed(0), group=6)
    assert {len(roll) for roll in rolls} == {6}
    gaps = np.concatenate([np.diff(roll) for roll in rolls])
    assert gaps.min() >= 1 and len(set(gaps.tolist())) > 3  # irregular, and never back
    assert all(len(set(batches.episode[roll].tolist())) == 1 for roll in rolls)


def test_upstream_s_expert_can_be_stuck_as_upstream_s() -> None:
    torch.manual_seed(0)
    expert = InContextDiT(InContextConfig(horizon=4, layers=1, dim=16, heads=2, cognitive_dim=8, perceptual_dim=6))
    nn.init.normal_(expert.final_layer.linear.weight)
    expert.stick()
    tokens = torch.randn(1, 5, 6)
    condition = Condition(torch.randn(1, 1, 8), tokens, torch.zeros(1, 0))
    mixed = condition._replace(perceptual=tokens.mean(dim=1, keepdim=True).expand(-1, 5, -1))
    noisy, times = torch.randn(1, 4, 7), torch.tensor([[3.0]])
    told = [expert(noisy, expert.prepare(of, times)) for of in (condition, mixed)]
    assert torch.allclose(*told, atol=1e-5)  # whatever the tokens, only their mean is seen
    told[0].sum().backward()
    of_queries_and_keys = expert.blocks[0].per_attn.in_proj_weight.grad[:32]
    assert not of_queries_and_keys.any()
