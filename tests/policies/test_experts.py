"""The action experts: the paper's sizes, chunks of any length, any number of views, the body where it is told."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from policies.action.dit import DiT, DiTConfig
from policies.action.incontext import InContextConfig, InContextDiT
from policies.action.sampler import Sampler, SamplerConfig
from robomem.cli.configuration import CONF
from tests.policies.experts import KINDS, conditions, expert

PAPER = {"s": (6, 384, 4), "b": (12, 768, 12), "l": (24, 1024, 16)}  # layers, width, heads
UPSTREAM_MILLIONS = {"s": 16.13, "b": 117.54, "l": 408.83}  # of its released code, with perception attention


def preset(name: str) -> DiTConfig | InContextConfig:
    return instantiate(OmegaConf.load(CONF / "expert" / f"{name}.yaml"))


def weights(dit: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in dit.parameters())


def test_every_preset_is_known_here() -> None:
    names = {path.stem for path in Path(CONF / "expert").glob("*.yaml")}
    assert names == {"nano", *PAPER, *(f"incontext_{size}" for size in PAPER)}
    assert preset("nano") == DiTConfig()


@pytest.mark.parametrize("size", PAPER)
def test_presets_have_the_paper_s_sizes(size: str) -> None:
    for config in (preset(size), preset(f"incontext_{size}")):
        assert (config.layers, config.dim, config.heads) == PAPER[size]


@pytest.mark.parametrize("size", PAPER)
def test_upstream_s_expert_has_upstream_s_number_of_weights(size: str) -> None:
    config = replace(preset(f"incontext_{size}"), horizon=16, cognitive_dim=4096, perceptual_dim=256, body_dim=0)
    with torch.device("meta"):  # shapes only
        assert weights(InContextDiT(config)) / 1e6 == pytest.approx(UPSTREAM_MILLIONS[size], abs=0.005)


@pytest.mark.parametrize("size", PAPER)
def test_our_expert_s_weights_are_those_of_its_layers(size: str) -> None:
    layers, dim, _ = PAPER[size]
    config = preset(size)
    assert isinstance(config, DiTConfig)
    attention, feed, modulation = 8 * dim**2, 8 * dim**2, 6 * dim**2  # of self and cross together; without biases
    with torch.device("meta"):
        told = weights(DiT(config))
    assert told == pytest.approx(layers * (attention + feed + modulation), rel=0.04)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("horizon", [1, 2, 7, 16, 64])
def test_a_chunk_may_have_any_length(kind: str, horizon: int) -> None:
    dit, sampler = expert(kind, horizon=horizon), Sampler(SamplerConfig(steps=2, guided=1))
    chunk = sampler.sample(dit, conditions(2), torch.Generator().manual_seed(0))
    assert chunk.shape == (2, horizon, 3) and chunk.isfinite().all()
    weight = torch.ones(2, horizon, 3)
    assert sampler.loss(dit, chunk, conditions(2), weight, torch.Generator().manual_seed(0)).isfinite()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("views", [1, 2, 3, 4])
def test_the_tokens_of_every_view_reach_the_chunk(kind: str, views: int) -> None:
    dit, condition = expert(kind), conditions(2, tokens=7 * views)
    condition.perceptual.requires_grad_(True)
    dit(torch.randn(2, 4, 3), dit.prepare(condition, torch.full((2, 1), 50))).square().sum().backward()
    assert condition.perceptual.grad is not None
    assert (condition.perceptual.grad.view(2, views, 7, 6).abs().amax(dim=(2, 3)) > 0).all()


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_views_does_not_matter_but_what_they_show_does(kind: str) -> None:
    dit, condition, x = expert(kind), conditions(2, tokens=6), torch.randn(2, 4, 3)

    def predicted(perceptual: torch.Tensor) -> torch.Tensor:
        return dit(x, dit.prepare(condition._replace(perceptual=perceptual), torch.full((2, 1), 50)))

    first, second = condition.perceptual.chunk(2, dim=1)
    turned, other = torch.cat([second, first], dim=1), torch.cat([first, first], dim=1)
    assert torch.allclose(predicted(turned), predicted(condition.perceptual), atol=1e-4)
    assert not torch.allclose(predicted(other), predicted(condition.perceptual), atol=1e-2)


@torch.no_grad()
def test_upstream_s_expert_is_told_of_the_body_only_where_it_is_asked_for() -> None:
    one, other = conditions(2), conditions(2)._replace(body=torch.zeros(2, 5))
    x, times = torch.randn(2, 4, 3), torch.full((2, 1), 50)
    for told, dit in ((True, expert("incontext")), (False, expert("incontext", body_dim=0))):
        same = torch.equal(dit(x, dit.prepare(one, times)), dit(x, dit.prepare(other, times)))
        assert same is not told
    assert not any("body" in name for name in expert("incontext", body_dim=0).state_dict())
