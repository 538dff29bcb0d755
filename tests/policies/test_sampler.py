"""Denoising: caches change nothing, guidance is what the paper says, and a small expert learns what it is shown."""

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from policies.action.dit import Block, Condition, DiT
from policies.action.incontext import InContextDiT
from policies.action.sampler import Sampler, SamplerConfig
from policies.action.schedule import Flow
from tests.policies.experts import KINDS, conditions, expert

OBJECTIVES = ("epsilon", "sample", "v_prediction", "flow")


@torch.no_grad()
def test_the_constant_tokens_are_read_as_by_torchs_own_attention() -> None:
    torch.manual_seed(0)
    block, plain = Block(32, heads=4), torch.nn.MultiheadAttention(32, 4, batch_first=True)
    for p in (*block.parameters(), *plain.parameters()):
        torch.nn.init.normal_(p, std=0.3)
    plain.in_proj_weight.copy_(torch.cat([block.query.weight, block.key_value.weight]))
    plain.in_proj_bias.copy_(torch.cat([block.query.bias, block.key_value.bias]))
    plain.out_proj.load_state_dict(block.out_cross.state_dict())
    x, tokens = torch.randn(3, 5, 32), torch.randn(3, 7, 32)
    shut = torch.zeros(3, 6, 1, 32)  # gates of self-attention and feed-forward
    taken, _ = plain(block.norm_cross(x), tokens, tokens)
    assert torch.allclose(block(x, block.constant(tokens), shut), x + taken, atol=1e-5)


def diffusers_own(config: SamplerConfig) -> DDIMScheduler | FlowMatchEulerDiscreteScheduler:
    if config.predicts == "flow":
        flow = FlowMatchEulerDiscreteScheduler(config.train_steps)
        flow.set_timesteps(sigmas=[1 - k / config.steps for k in range(config.steps)])
        return flow
    named = {"prediction_type": config.predicts, "timestep_spacing": config.spacing}
    ddim = DDIMScheduler(config.train_steps, beta_schedule="squaredcos_cap_v2", clip_sample=False, **named)
    ddim.set_timesteps(config.steps)
    return ddim


@torch.no_grad()
def plain_sample(sampler: Sampler, dit: DiT | InContextDiT, condition: Condition, noise: torch.Generator) -> Tensor:
    """The textbook loop: nothing prepared ahead, the two guidance branches one after the other."""
    scheduler = diffusers_own(sampler.config)
    x = torch.randn(len(condition.body), dit.config.horizon, dit.config.action_dim, generator=noise)
    nothing = condition._replace(cognitive=dit.nothing.expand_as(condition.cognitive))
    for step, t in enumerate(scheduler.timesteps):
        times = t.expand(len(condition.body), 1)
        conditional = dit(x, dit.prepare(condition, times))
        free = dit(x, dit.prepare(nothing, times))
        weight = sampler.config.guidance if step < sampler.config.guided else 1.0
        guided = free + weight * (conditional - free)
        x = scheduler.step(guided, t, x).prev_sample
    return x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("predicts", OBJECTIVES)
@pytest.mark.parametrize("guided", [0, 4, 10])
def test_what_is_computed_once_and_both_branches_in_one_batch_change_no_number(
    predicts: str, guided: int, kind: str
) -> None:
    sampler, dit = Sampler(SamplerConfig(predicts=predicts, guided=guided)), expert(kind)  # type: ignore[arg-type]
    fast = sampler.sample(dit, conditions(3), torch.Generator().manual_seed(5))
    plain = plain_sample(sampler, dit, conditions(3), torch.Generator().manual_seed(5))
    assert torch.allclose(fast, plain, atol=1e-4 * float(plain.abs().max()))


def test_ten_ddim_steps_as_the_paper() -> None:
    assert Sampler(SamplerConfig()).schedule.timesteps.tolist() == [90, 80, 70, 60, 50, 40, 30, 20, 10, 0]


def test_flow_goes_from_noise_to_the_chunk_in_steps_of_equal_length() -> None:
    sampler = Sampler(SamplerConfig(predicts="flow", steps=5))
    assert sampler.schedule.timesteps.tolist() == pytest.approx([100, 80, 60, 40, 20])
    assert [(step.keep, step.take) for step in sampler.steps] == [pytest.approx((1, -0.2))] * 5


@torch.no_grad()
def test_flow_in_one_step_is_the_noise_less_the_velocity() -> None:
    sampler, dit, noise = Sampler(SamplerConfig(predicts="flow", steps=1, guided=0)), expert(), torch.randn(2, 4, 3)
    velocity = dit(noise, dit.prepare(conditions(2), torch.full((2, 1), 100.0)))
    assert torch.allclose(sampler.denoise(dit, conditions(2), noise), noise - velocity, atol=1e-5)


def test_flow_times_are_drawn_as_those_of_pi0() -> None:
    share = Flow(100, 10).draw(20_000, torch.Generator().manual_seed(0)) / 100
    for below in (0.2, 0.5, 0.8):  # the distribution of Beta(1.5, 1) is x^1.5
        assert float((share < below).float().mean()) == pytest.approx(below**1.5, abs=0.01)
    assert share.min() >= 0.001 and share.max() <= 1


@pytest.mark.parametrize("predicts", OBJECTIVES)
def test_the_clean_chunk_of_a_step_is_what_was_mixed_with_noise(predicts: str) -> None:
    sampler = Sampler(SamplerConfig(predicts=predicts))  # type: ignore[arg-type]
    actions, eps = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    for t, step in zip(sampler.schedule.timesteps, sampler.steps, strict=True):
        times = t.expand(2)
        noisy, wanted = sampler.schedule.mixed(actions, eps, times), sampler.schedule.wanted(actions, eps, times)
        assert torch.allclose(noisy, step.signal * actions + step.noise * eps, atol=1e-5)
        assert torch.allclose(step.of_noisy * noisy + step.of_predicted * wanted, actions, atol=1e-4)


FEW = [("flow", 1), ("flow", 2), ("sample", 1), ("sample", 3), ("v_prediction", 1), ("epsilon", 2), ("epsilon", 7)]


@pytest.mark.parametrize(("predicts", "steps"), FEW)
def test_an_expert_that_knows_the_chunk_gives_it_in_few_steps_as_in_many(predicts: str, steps: int) -> None:
    spacing = "leading" if predicts == "epsilon" else "trailing"
    config = SamplerConfig(predicts=predicts, steps=steps, guided=0, spacing=spacing)  # type: ignore[arg-type]
    sampler, actions = Sampler(config), torch.randn(2, 4, 3)

    class Knowing(torch.nn.Module):
        config = expert().config
        nothing = torch.zeros(8)

        def prepare(self, condition: Condition, times: Tensor, given: Tensor | None = None) -> Tensor:
            return times

        def forward(self, noisy: Tensor, given: Tensor, step: int = 0) -> Tensor:
            level = sampler.steps[step]
            eps = (noisy - level.signal * actions) / level.noise
            return sampler.schedule.wanted(actions, eps, given[:, step])

    assert torch.allclose(sampler.denoise(Knowing(), conditions(2), torch.randn(2, 4, 3)), actions, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0, "guided": 0}, "steps is 0, expected 1 to 100"),
        ({"steps": 101}, "steps is 101, expected 1 to 100"),
        ({"guided": 11}, "guided is 11, expected 0 to 10"),
        ({"drop": 1.5}, "drop is 1.5"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"max_delay": -1}, "max_delay is -1"),
        ({"predicts": "noise"}, "predicts is 'noise', expected one of: epsilon, sample, v_prediction, flow"),
        ({"spacing": "linspace"}, "spacing is 'linspace', expected one of: leading, trailing"),
        ({"steps": 1, "guided": 0}, "with leading spacing they begin at 0 of 100.*spacing=trailing"),
        ({"predicts": "epsilon", "spacing": "trailing"}, "an expert that predicts epsilon cannot begin"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sampler(SamplerConfig(**wrong))  # type: ignore[arg-type]


def test_both_branches_are_asked_in_the_guided_steps_and_one_in_the_rest() -> None:
    dit, noise = expert(), torch.randn(2, 4, 3)
    asked: dict[int, list[int]] = {}
    for guided in (0, 3, 10):
        sizes = asked[guided] = []
        hook = dit.register_forward_pre_hook(lambda _, given, sizes=sizes: sizes.append(len(given[0])))
        Sampler(SamplerConfig(guided=guided)).denoise(dit, conditions(2), noise)
        hook.remove()
    assert asked == {0: [2] * 10, 3: [4] * 3 + [2] * 7, 10: [4] * 10}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("predicts", OBJECTIVES)
def test_a_batch_of_sessions_gives_what_each_gives_alone(kind: str, predicts: str) -> None:
    sampler, dit = Sampler(SamplerConfig(predicts=predicts)), expert(kind)  # type: ignore[arg-type]
    noise, condition = torch.randn(3, 4, 3), conditions(3)
    together = sampler.denoise(dit, condition, noise)
    for k in range(3):
        alone = sampler.denoise(dit, Condition(*(given[k : k + 1] for given in condition)), noise[k : k + 1])
        assert torch.allclose(together[k], alone[0], atol=1e-4 * float(together.abs().max()))


def test_sampling_repeats_for_a_seed_and_differs_for_another() -> None:
    sampler, dit = Sampler(SamplerConfig()), expert()
    first, again, other = (sampler.sample(dit, conditions(2), torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_without_guidance_the_free_branch_is_not_run() -> None:
    sampler, dit = Sampler(SamplerConfig(guidance=1.0)), expert()
    before = sampler.sample(dit, conditions(2), torch.Generator().manual_seed(3))
    dit.nothing.data.fill_(100.0)
    assert torch.equal(before, sampler.sample(dit, conditions(2), torch.Generator().manual_seed(3)))


def test_perceptual_tokens_and_the_body_reach_the_actions_from_the_first_step_of_training() -> None:
    dit = expert(std=0)
    torch.nn.init.normal_(dit.out.weight, std=0.1)
    condition = conditions(2)
    perceptual, body = condition.perceptual.requires_grad_(True), condition.body.requires_grad_(True)
    dit(torch.randn(2, 4, 3), dit.prepare(condition, torch.full((2, 1), 50))).sum().backward()
    for block in dit.blocks:
        assert block.query.weight.grad is not None and block.query.weight.grad.abs().max() > 0  # type: ignore[union-attr]
    for given in (perceptual, body):
        assert given.grad is not None and given.grad.abs().max() > 0


@pytest.mark.parametrize("predicts", ["sample", "flow"])
def test_an_expert_learns_the_action_that_its_condition_names(predicts: str) -> None:
    dit, sampler = expert(std=0, layers=1), Sampler(SamplerConfig(predicts=predicts))  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(dit.parameters(), lr=3e-3)
    wanted = torch.tensor([[0.5, -0.5, 0.2], [-0.8, 0.1, 0.9]])
    condition = conditions(2)
    noise = torch.Generator().manual_seed(0)
    for _ in range(200):
        which = torch.randint(2, (32,), generator=noise)
        actions = wanted[which].unsqueeze(1).expand(-1, 4, -1)
        known = Condition(*(given[which] for given in condition))
        loss = sampler.loss(dit, actions, known, torch.ones(32, 4, 3), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sampled = sampler.sample(dit, condition, noise)
    assert torch.allclose(sampled, wanted.unsqueeze(1).expand(-1, 4, -1), atol=0.15)


def test_padding_does_not_count() -> None:
    sampler, dit = Sampler(SamplerConfig(drop=0.0)), expert()
    condition = conditions(2)
    weight = torch.ones(2, 4, 3)
    weight[:, 2:] = 0
    actions = torch.zeros(2, 4, 3)
    clean = sampler.loss(dit, actions, condition, weight, torch.Generator().manual_seed(0))
    weight_all = sampler.loss(dit, actions, condition, torch.ones(2, 4, 3), torch.Generator().manual_seed(0))
    assert clean.isfinite() and not torch.equal(clean, weight_all)
