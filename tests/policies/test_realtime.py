"""A new chunk joins the running one: the equations, on experts whose answer is known, and on one that learned."""

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from policies.action.dit import Condition, DiT, DiTConfig
from policies.action.realtime import Prefix, Pull, Running, soft_mask
from policies.action.sampler import Sampler, SamplerConfig
from policies.action.schedule import Step
from tests.policies.experts import KINDS, conditions, expert
from tests.policies.test_sampler import OBJECTIVES

HORIZON = 8


def running(actions: Tensor, promised: int, known: int) -> Running:
    return Running(actions, torch.full((len(actions),), promised), torch.full((len(actions),), known))


def test_the_mask_is_one_where_promised_falls_and_ends_with_what_is_known() -> None:
    mask = soft_mask(torch.tensor([2, 0, 3, 0]), torch.tensor([6, 4, 3, 0]), HORIZON)
    left = torch.tensor([4 / 5, 3 / 5, 2 / 5, 1 / 5])
    falling = left * (left.exp() - 1) / (math.e - 1)  # eq. 5 of arXiv 2506.07339, written out
    assert torch.allclose(mask[0], torch.cat([torch.ones(2), falling, torch.zeros(2)]))
    assert torch.allclose(mask[1], torch.cat([falling, torch.zeros(4)]))
    assert mask[2].tolist() == [1, 1, 1, 0, 0, 0, 0, 0] and mask[3].tolist() == [0] * 8


@pytest.mark.parametrize("tau", [0.0, 0.1, 0.5, 0.9])
def test_on_straight_ways_the_strength_is_the_paper_s(tau: float) -> None:
    """Eq. 2 and 4 of arXiv 2506.07339 as they stand there; to the chunk (1 - tau) times what goes to the velocity."""
    step = Step(1.0, -0.1, 1.0, tau - 1, tau, 1 - tau)
    for most in (0.5, 5.0, 100.0):
        r2 = (1 - tau) ** 2 / (tau**2 + (1 - tau) ** 2)
        weight = min(most, (1 - tau) / (tau * r2)) if tau else most
        assert running(torch.zeros(1, 4, 3), 1, 2).pull(most).strength(step) == pytest.approx((1 - tau) * weight)


class UnitNormal(torch.nn.Module):
    """Predicts as is right where every action is a unit normal of its own: the clean chunk is expected to be
    a x / (a^2 + s^2)."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.sampler, self.config, self.nothing = sampler, expert().config, torch.zeros(8)

    def prepare(self, condition: Condition, times: Tensor, given: Tensor | None = None) -> Tensor:
        return times

    def forward(self, noisy: Tensor, given: Tensor, step: int = 0) -> Tensor:
        level = self.sampler.steps[step]
        clean = noisy * level.signal / (level.signal**2 + level.noise**2)
        return (clean - level.of_noisy * noisy) / level.of_predicted


@pytest.mark.parametrize("predicts", OBJECTIVES)
def test_unclipped_and_for_a_normal_prior_the_pull_alone_brings_actions_home(predicts: str) -> None:
    sampler = Sampler(SamplerConfig(predicts=predicts, guidance=1.0))  # type: ignore[arg-type]
    dit, noise, wanted = UnitNormal(sampler), torch.randn(3, 4, 3), torch.randn(3, 4, 3)
    one = running(wanted, 2, 2)
    free, pulled = (
        sampler.denoise(
            dit, conditions(3), noise, pull=Pull(Prefix(wanted, one.prefix(0).given), one.pull(1).weight, most)
        )
        for most in (0.0, 1e6)
    )  # nothing is put in at the end
    assert torch.equal(free, sampler.denoise(dit, conditions(3), noise))
    assert torch.allclose(pulled[:, :2], wanted[:, :2], atol=1e-4)
    assert torch.allclose(pulled[:, 2:], free[:, 2:], atol=1e-5)


def test_what_is_promised_is_in_a_pulled_chunk_to_the_bit() -> None:
    wanted = torch.randn(2, 4, 3)
    chunk = Sampler(SamplerConfig()).denoise(
        expert(), conditions(2), torch.randn(2, 4, 3), pull=running(wanted, 2, 3).pull(5)
    )
    assert torch.equal(chunk[:, :2], wanted[:, :2]) and not torch.allclose(chunk[:, 2], wanted[:, 2], atol=1e-3)


def test_a_strength_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="pull is -1"):
        running(torch.zeros(1, 4, 3), 1, 2).pull(-1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("predicts", OBJECTIVES)
def test_a_pull_of_nothing_changes_no_number(kind: str, predicts: str) -> None:
    sampler, dit = Sampler(SamplerConfig(predicts=predicts)), expert(kind)  # type: ignore[arg-type]
    noise = torch.randn(2, 4, 3)
    free = sampler.denoise(dit, conditions(2), noise)
    for none in (running(torch.ones(2, 4, 3), 0, 0).pull(5.0), running(torch.ones(2, 4, 3), 0, 4).pull(0.0)):
        assert torch.equal(sampler.denoise(dit, conditions(2), noise, pull=none), free)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("predicts", OBJECTIVES)
def test_sessions_in_one_batch_join_as_each_does_alone(kind: str, predicts: str) -> None:
    sampler, dit = Sampler(SamplerConfig(predicts=predicts, max_delay=3)), expert(kind)  # type: ignore[arg-type]
    noise, condition = torch.randn(3, 4, 3), conditions(3)
    together = Running(torch.randn(3, 4, 3), torch.tensor([0, 1, 3]), torch.tensor([0, 3, 4]))
    joined = sampler.denoise(dit, condition, noise, together.prefix(3), together.pull(5.0))
    for k in range(3):
        one = Running(*(part[k : k + 1] for part in together))
        alone = Condition(*(part[k : k + 1] for part in condition))
        again = sampler.denoise(dit, alone, noise[k : k + 1], one.prefix(3), one.pull(5.0))
        assert torch.allclose(joined[k], again[0], atol=1e-3 * float(joined.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_is_in_the_chunk_to_the_bit_and_seen_by_the_rest(kind: str) -> None:
    sampler, dit = Sampler(SamplerConfig(max_delay=3)), expert(kind)
    noise, actions = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    given = running(actions, 2, 4).prefix(3)
    chunk = sampler.denoise(dit, conditions(2), noise, given)
    assert torch.equal(chunk[:, :2], actions[:, :2])
    moved = sampler.denoise(dit, conditions(2), noise, Prefix(actions + 1, given.given))
    assert not torch.allclose(moved[:, 2:], chunk[:, 2:], atol=1e-3)
    behind = actions.clone()
    behind[:, 2:] += 1  # not given: of no effect
    assert torch.equal(sampler.denoise(dit, conditions(2), noise, Prefix(behind, given.given)), chunk)


def test_no_more_is_given_than_was_trained() -> None:
    assert running(torch.zeros(1, 8, 2), 5, 6).prefix(3).given.tolist() == [[True] * 3 + [False] * 5]


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_given_actions_have_a_time_of_their_own_and_the_others_the_step_s(kind: str) -> None:
    dit, x = expert(kind), torch.randn(2, 4, 3)
    times = torch.tensor([[50, -1]] * 2)
    none, some = (dit.prepare(conditions(2), times, torch.tensor([[k < n for k in range(4)]] * 2)) for n in (0, 2))
    plain = dit(x, dit.prepare(conditions(2), times[:, :1]))
    assert torch.allclose(dit(x, none), plain, atol=1e-5)
    assert not torch.allclose(dit(x, some), plain, atol=1e-3)
    both, known = dit.prepare_guided(conditions(2), times, torch.tensor([[True, False, False, False]] * 2))
    assert torch.allclose(dit(torch.cat([x, x]), both)[:2], dit(x, known), atol=1e-5)


@torch.no_grad()
def test_training_counts_only_what_is_not_given() -> None:
    dit, sampler = expert(std=0), Sampler(SamplerConfig(max_delay=3))  # predicts zero: an error is an action's square
    actions, weight, given = torch.full((1, 4, 3), 2.0), torch.zeros(4, 1, 4, 3), [0] * 4
    for seed in range(40):
        for k in range(4):
            weight[k, :, k] = 1
            loss = sampler.loss(dit, actions, conditions(1), weight[k], torch.Generator().manual_seed(seed))
            assert float(loss) in (0.0, 4.0)
            given[k] += float(loss) == 0.0
    assert given == [pytest.approx(share * 40, abs=10) for share in (3 / 4, 2 / 4, 1 / 4, 0)]  # delays 0 to 3 alike


# --- a way round either side of a thing: an expert that learned both, and a running chunk that has chosen ---


def ways(phase: Tensor, side: Tensor) -> Tensor:
    """Chunks (B, h, 2) round a thing, from `phase` (B,) of the way, on one `side` (B,) of it, -1 or 1."""
    along = phase.unsqueeze(1) + 0.06 * torch.arange(HORIZON)
    return torch.stack([2 * along - 1, side.unsqueeze(1) * (math.pi * along).sin()], dim=-1)


def told(phase: Tensor) -> Condition:
    """Where on the way, but not on which side."""
    none = torch.zeros(len(phase), 1, 4)
    return Condition(none, none, torch.stack([phase, (math.pi * phase).sin(), (math.pi * phase).cos()], dim=-1))


@cache
def learned(predicts: str) -> tuple[DiT, Sampler]:
    torch.manual_seed(0)
    dit = DiT(DiTConfig(HORIZON, 2, dim=32, heads=2, layers=1, cognitive_dim=4, perceptual_dim=4, body_dim=3))
    sampler = Sampler(SamplerConfig(predicts=predicts, guidance=1.0, max_delay=3))  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(dit.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=200)
    noise = torch.Generator().manual_seed(0)
    for _ in range(200):
        phase, side = torch.rand(48, generator=noise) * 0.55, torch.randint(2, (48,), generator=noise) * 2.0 - 1
        loss = sampler.loss(dit, ways(phase, side), told(phase), torch.ones(48, HORIZON, 2), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return dit.eval().requires_grad_(False), sampler


@pytest.mark.parametrize("predicts", ["sample", "flow"])
def test_a_chunk_that_joins_stays_on_the_side_where_the_arm_is(predicts: str) -> None:
    dit, sampler = learned(predicts)
    random = torch.Generator().manual_seed(5)
    phase, side = 0.15 + 0.3 * torch.rand(128, generator=random), torch.randint(2, (128,), generator=random) * 2.0 - 1
    noise, true = torch.randn(128, HORIZON, 2, generator=random), ways(phase, side)
    one = running(true, promised=3, known=5)
    joins = {"free": {}, "prefix": {"prefix": one.prefix(3)}, "pull": {"pull": one.pull(5.0)}}
    jump, stays = {}, {}
    for name, how in joins.items():
        chunk = sampler.denoise(dit, told(phase), noise, **how)
        jump[name] = float((chunk[:, 3] - true[:, 3]).norm(dim=-1).mean())
        stays[name] = float((chunk[:, 3:, 1] * side.unsqueeze(1) > 0).float().mean())
    assert 0.35 < stays["free"] < 0.65 and jump["free"] > 0.5  # either side, as chance has it
    for name in ("prefix", "pull"):
        assert stays[name] > 0.98 and jump[name] < jump["free"] / 8, (jump, stays)
