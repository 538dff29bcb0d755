"""Denoising: caches change nothing, guidance is what the paper says, and a small expert learns what it is shown."""

import pytest
import torch
from torch import Tensor

from policies.action.dit import Block, Condition, DiT, DiTConfig
from policies.action.sampler import Sampler, SamplerConfig

SMALL = DiTConfig(horizon=4, action_dim=3, dim=32, heads=2, layers=2, cognitive_dim=8, perceptual_dim=6, body_dim=5)


def expert(seed: int = 0) -> DiT:
    torch.manual_seed(seed)
    dit = DiT(SMALL)
    for p in dit.parameters():  # past the zero initialisation, so that every path shows in the output
        torch.nn.init.normal_(p, std=0.2)
    return dit.eval()


def conditions(batch: int, seed: int = 1) -> Condition:
    random = torch.Generator().manual_seed(seed)
    return Condition(*(torch.randn(batch, *size, generator=random) for size in ((1, 8), (5, 6), (5,))))


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


@torch.no_grad()
def plain_sample(sampler: Sampler, dit: DiT, condition: Condition, noise: torch.Generator) -> Tensor:
    """The textbook loop: nothing prepared ahead, the two guidance branches one after the other."""
    x = torch.randn(len(condition.body), SMALL.horizon, SMALL.action_dim, generator=noise)
    nothing = condition._replace(cognitive=dit.nothing.expand_as(condition.cognitive))
    for step, t in enumerate(sampler.scheduler.timesteps):
        times = t.expand(len(condition.body), 1)
        conditional = dit(x, dit.prepare(condition, times))
        free = dit(x, dit.prepare(nothing, times))
        weight = sampler.config.guidance if step < sampler.config.guided else 1.0
        guided = free + weight * (conditional - free)
        x = sampler.scheduler.step(guided, t, x).prev_sample
    return x


@pytest.mark.parametrize("predicts", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("guided", [0, 4, 10])
def test_what_is_computed_once_changes_no_number(predicts: str, guided: int) -> None:
    sampler, dit = Sampler(SamplerConfig(predicts=predicts, guided=guided)), expert()  # type: ignore[arg-type]
    fast = sampler.sample(dit, conditions(3), torch.Generator().manual_seed(5))
    plain = plain_sample(sampler, dit, conditions(3), torch.Generator().manual_seed(5))
    assert torch.allclose(fast, plain, atol=1e-4 * float(plain.abs().max()))


def test_ten_ddim_steps_as_the_paper() -> None:
    assert Sampler(SamplerConfig()).scheduler.timesteps.tolist() == [90, 80, 70, 60, 50, 40, 30, 20, 10, 0]


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
    torch.manual_seed(0)
    dit = DiT(SMALL)
    torch.nn.init.normal_(dit.out.weight, std=0.1)
    condition = conditions(2)
    perceptual, body = condition.perceptual.requires_grad_(True), condition.body.requires_grad_(True)
    dit(torch.randn(2, 4, 3), dit.prepare(condition, torch.full((2, 1), 50))).sum().backward()
    for block in dit.blocks:
        assert block.query.weight.grad is not None and block.query.weight.grad.abs().max() > 0  # type: ignore[union-attr]
    for given in (perceptual, body):
        assert given.grad is not None and given.grad.abs().max() > 0


def test_an_expert_learns_the_action_that_its_condition_names() -> None:
    torch.manual_seed(0)
    dit, sampler = DiT(SMALL), Sampler(SamplerConfig())
    optimizer = torch.optim.AdamW(dit.parameters(), lr=3e-3)
    wanted = torch.tensor([[0.5, -0.5, 0.2], [-0.8, 0.1, 0.9]])
    condition = conditions(2)
    noise = torch.Generator().manual_seed(0)
    for _ in range(250):
        which = torch.randint(2, (64,), generator=noise)
        actions = wanted[which].unsqueeze(1).expand(-1, 4, -1)
        loss = sampler.loss(
            dit, actions, Condition(*(given[which] for given in condition)), torch.ones(64, 4, 3), noise
        )
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
