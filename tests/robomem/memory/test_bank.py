"""The bank reads before it writes, ages what it reads, and learns through what it wrote."""

from dataclasses import replace

import pytest
import torch

from robomem.memory.bank import BankConfig, MemoryBank
from robomem.memory.retrieval import rates, rotate_by_time
from robomem.memory.rolling import roll
from robomem.memory.state import MemoryState

CONFIG = BankConfig(slots=4, tokens=3, perceptual_dim=8, cognitive_dim=16, heads=2)


@pytest.fixture
def bank() -> MemoryBank:
    torch.manual_seed(0)
    return MemoryBank(CONFIG)


def tokens(sessions: int, steps: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(sessions, steps, 1, 16, generator=random), torch.randn(sessions, steps, 3, 8, generator=random)


def after(bank: MemoryBank, steps: int, offset: float = 0.0) -> MemoryState:
    cognitive, perceptual = tokens(1, steps)
    state = bank.empty()
    for k in range(steps):
        _, _, state = bank(state, cognitive[:, k], perceptual[:, k], torch.tensor([offset + 0.4 * k]))
    return state


def test_the_first_moment_has_nothing_to_remember(bank: MemoryBank) -> None:
    cognitive, perceptual = tokens(1, 1)
    fused_c, fused_p, state = bank(bank.empty(), cognitive[:, 0], perceptual[:, 0], torch.zeros(1))
    assert torch.allclose(fused_c, cognitive[:, 0], atol=1e-6)
    assert torch.allclose(fused_p, perceptual[:, 0], atol=1e-6)
    assert state.length.tolist() == [1]


def test_what_is_held_changes_what_is_fused(bank: MemoryBank) -> None:
    cognitive, perceptual = tokens(1, 1, seed=9)
    now = torch.tensor([4.0])
    with_memory, _, _ = bank(after(bank, 3), cognitive[:, 0], perceptual[:, 0], now)
    without, _, _ = bank(bank.empty(), cognitive[:, 0], perceptual[:, 0], now)
    assert (with_memory - without).abs().max() > 0.05


def test_only_ages_count_not_the_hour_of_the_day(bank: MemoryBank) -> None:
    cognitive, perceptual = tokens(1, 1, seed=9)
    early, _, _ = bank(after(bank, 6), cognitive[:, 0], perceptual[:, 0], torch.tensor([2.4]))
    late, _, _ = bank(after(bank, 6, offset=64.0), cognitive[:, 0], perceptual[:, 0], torch.tensor([66.4]))
    assert torch.allclose(early, late, atol=1e-4)
    older, _, _ = bank(after(bank, 6), cognitive[:, 0], perceptual[:, 0], torch.tensor([30.0]))
    assert (early - older).abs().max() > 1e-4


def test_a_rotation_by_time_makes_products_depend_on_age_alone() -> None:
    random = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 1, 8, generator=random).unbind()

    def product(t_query: float, t_key: float) -> float:
        asked, held = torch.tensor([[t_query]]), torch.tensor([[t_key]])
        turned = rotate_by_time(query, asked, rates(4)) * rotate_by_time(key, held, rates(4))
        return float(turned.sum())

    assert product(5.0, 3.0) == pytest.approx(product(105.0, 103.0), abs=1e-4)
    assert product(3.0, 3.0) == pytest.approx(float((query * key).sum()), abs=1e-5)


def test_attention_is_a_share_over_what_is_held(bank: MemoryBank) -> None:
    state = after(bank, 3)
    cognitive, perceptual = tokens(1, 1, seed=2)
    _, _, state = bank(state, cognitive[:, 0], perceptual[:, 0], torch.tensor([1.2]))
    assert float(state.banks[0].attention[0, :3].sum()) == pytest.approx(1.0, abs=1e-5)
    assert state.banks[0].attention[0, 3] == 0  # what was just written was not read


@pytest.mark.parametrize("poison", [1e6, float("nan"), float("inf")])
def test_empty_slots_cannot_leak(bank: MemoryBank, poison: float) -> None:
    state = after(bank, 2)
    (held,) = state.banks
    poisoned = replace(state, banks=(replace(held, tokens=held.tokens.where(held.filled.unsqueeze(-1), poison)),))
    for k in range(2, 9):  # until there are no empty slots, and on
        cognitive, perceptual = tokens(1, 1, seed=k)
        *clean, state = bank(state, cognitive[:, 0], perceptual[:, 0], torch.tensor([0.4 * k]))
        *dirty, poisoned = bank(poisoned, cognitive[:, 0], perceptual[:, 0], torch.tensor([0.4 * k]))
        assert all(torch.equal(a, b) for a, b in zip(clean, dirty, strict=True))


def test_rolling_an_episode_is_stepping_through_it(bank: MemoryBank) -> None:
    cognitive, perceptual = tokens(3, 7)
    t = 0.4 * torch.arange(7).expand(3, 7)
    lengths = [7, 5, 2]
    rolled, _ = roll(bank, cognitive, perceptual, t, lengths, grad_window=100)
    flat = iter(rolled)
    expected = {}
    for session, length in enumerate(lengths):
        state = bank.empty()
        for k in range(length):
            fused, _, state = bank(
                state, cognitive[session : session + 1, k], perceptual[session : session + 1, k], t[:1, k]
            )
            expected[k, session] = fused[0]
    for k in range(7):
        for session in range(sum(length > k for length in lengths)):
            assert torch.allclose(next(flat), expected[k, session], atol=1e-5)
    assert next(flat, None) is None
    with pytest.raises(ValueError, match="longest first"):
        roll(bank, cognitive, perceptual, t, [2, 5, 7], grad_window=100)


@pytest.mark.parametrize(("window", "reaches"), [(100, True), (2, False)])
def test_gradients_reach_as_far_back_as_the_window(bank: MemoryBank, window: int, reaches: bool) -> None:
    cognitive, perceptual = tokens(1, 6)
    cognitive.requires_grad_(True)
    fused, _ = roll(bank, cognitive, perceptual, 0.4 * torch.arange(6).view(1, 6), [6], window)
    fused[-1].sum().backward()
    assert cognitive.grad is not None
    assert bool(cognitive.grad[0, 0].abs().max() > 0) is reaches
    assert cognitive.grad[0, 5].abs().max() > 0


def test_the_twin_without_memory_never_holds_anything() -> None:
    twin = MemoryBank(replace(CONFIG, enabled=False))
    state = after(twin, 5)
    assert state.length.tolist() == [0] and state.step == 5
    assert sum(p.numel() for p in twin.parameters()) == sum(p.numel() for p in MemoryBank(CONFIG).parameters())


def test_every_weight_gets_a_gradient(bank: MemoryBank) -> None:
    cognitive, perceptual = tokens(2, 6)
    fused_c, fused_p = roll(bank, cognitive, perceptual, 0.4 * torch.arange(6).expand(2, 6), [6, 6], 100)
    (fused_c.pow(2).sum() + fused_p.pow(2).sum()).backward()
    for name, weight in bank.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_is_rolled_and_what_is_held_stays_whole(bank: MemoryBank, dtype: torch.dtype) -> None:
    cognitive, perceptual = (seen.to(dtype).requires_grad_(True) for seen in tokens(2, 9))
    t = 0.4 * torch.arange(9).expand(2, 9)
    with torch.autocast("cpu", torch.bfloat16):
        fused, _ = roll(bank, cognitive, perceptual, t, [9, 6], 100)
        _, _, state = bank(bank.empty(2), cognitive[:, 0], perceptual[:, 0], t[:, 0])
    fused.float().pow(2).sum().backward()
    assert cognitive.grad is not None and cognitive.grad[0, 0].abs().max() > 0
    assert all(not tensor.is_floating_point() or tensor.dtype == torch.float32 for tensor in state.tensors().values())
