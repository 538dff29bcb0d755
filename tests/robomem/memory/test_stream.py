"""A stream may hold less than it is given; what was derived of it for reading stays what its tokens say."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from robomem.memory.bank import BankConfig, MemoryBank
from robomem.memory.compatible import CompatibleConfig, CompatibleMemory
from robomem.memory.rolling import Bank, roll
from robomem.memory.state import MemoryState

CONFIG = BankConfig(slots=4, tokens=6, perceptual_dim=8, cognitive_dim=16, heads=2, layers=2)
KINDS: dict[str, dict[str, Any]] = {
    "whole": {},
    "narrow": {"held_dim": 4},
    "summary": {"held_tokens": 2},
    "both": {"held_dim": 4, "held_tokens": 2},
    "apart": {"together": False},
    "raw": {"written": "raw", "held_tokens": 2},
}
MEMORIES = [*KINDS, "compatible"]


def memory(kind: str) -> MemoryBank | CompatibleMemory:
    torch.manual_seed(0)
    if kind == "compatible":
        return CompatibleMemory(CompatibleConfig(4, 6, 8, 16, "fused"))
    return MemoryBank(replace(CONFIG, **KINDS[kind]))


def tokens(sessions: int, steps: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(sessions, steps, 1, 16, generator=random), torch.randn(sessions, steps, 6, 8, generator=random)


@torch.no_grad()
def after(bank: Bank, steps: int, sessions: int = 1, slots: int | None = None) -> MemoryState:
    cognitive, perceptual = tokens(sessions, steps)
    state = bank.empty(sessions, slots=slots)
    for k in range(steps):
        *_, state = bank(state, cognitive[:, k], perceptual[:, k], torch.full((sessions,), 0.4 * k))
    return state


@pytest.mark.parametrize("kind", MEMORIES)
def test_many_sessions_are_stepped_as_single_ones(kind: str) -> None:
    bank, (cognitive, perceptual) = memory(kind), tokens(5, 9, seed=3)
    lengths, t = [9, 9, 6, 4, 1], 0.4 * torch.arange(9).expand(5, 9)
    together = roll(bank, cognitive, perceptual, t, lengths, 100)
    alone = [
        roll(bank, cognitive[k : k + 1], perceptual[k : k + 1], t[k : k + 1], [n], 100) for k, n in enumerate(lengths)
    ]
    for stream, singles in zip(together, zip(*alone, strict=True), strict=True):
        in_turn = [single[k] for k in range(9) for single in singles if k < len(single)]
        assert torch.allclose(stream, torch.stack(in_turn), atol=1e-5)


@pytest.mark.parametrize("kind", MEMORIES)
def test_the_first_moment_is_itself_and_later_ones_remember(kind: str) -> None:
    bank, (cognitive, perceptual) = memory(kind), tokens(1, 1, seed=9)
    now = cognitive[:, 0], perceptual[:, 0], torch.tensor([4.0])
    nothing, something = bank(bank.empty(), *now), bank(after(bank, 7), *now)
    for seen, first, later in zip(now, nothing, something, strict=False):
        if isinstance(first, torch.Tensor):
            assert torch.equal(first, seen)
            assert (later - first).abs().max() > 1e-2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "apart"])
def test_what_is_derived_stays_what_the_tokens_say_through_every_merge(kind: str) -> None:
    bank = memory(kind)
    assert isinstance(bank, MemoryBank)
    (held,) = after(bank, 30).banks
    cognitive, perceptual, *derived = held.streams(held.tokens)
    anew = *bank.cognitive.read.derive(cognitive), *bank.perceptual.read.derive(perceptual)
    assert len(derived) == len(anew) == 4
    for kept, said in zip(derived, anew, strict=True):
        assert torch.allclose(kept, said, atol=1e-5)


def test_less_is_held_and_every_token_is_told() -> None:
    bank = memory("both")
    (held,) = after(bank, 3).banks
    assert held.sizes == ((1, 4), (2, 8))
    cognitive, perceptual = tokens(1, 1, seed=2)
    fused_c, fused_p, _ = bank(after(bank, 3), cognitive[:, 0], perceptual[:, 0], torch.tensor([2.0]))
    assert fused_c.shape == (1, 1, 16) and fused_p.shape == (1, 6, 8)
    assert ((fused_p - perceptual[:, 0]).abs().amax(dim=-1) > 1e-3).all()


@pytest.mark.parametrize("too_many", [{"held_tokens": 7}, {"held_dim": 17}])
def test_more_than_there_is_cannot_be_held(too_many: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cannot be held"):
        MemoryBank(replace(CONFIG, **too_many))


def test_a_memory_may_be_longer_than_the_one_that_was_trained() -> None:
    for kind in ("whole", "compatible"):
        state = after(memory(kind), 12, slots=9)
        assert [len(state.entries()), sum(entry.count for entry in state.entries())] == [9, 12]


@pytest.mark.parametrize("kind", ["whole", "summary", "compatible"])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_empty_slots_cannot_leak(kind: str, poison: float) -> None:
    bank, (cognitive, perceptual) = memory(kind), tokens(2, 9, seed=4)
    clean = after(bank, 2, sessions=2)
    dirty = replace(
        clean,
        banks=tuple(
            replace(
                held,
                tokens=held.tokens.where(held.filled.unsqueeze(-1), poison),
                facts=torch.cat([held.facts[..., :4], held.told.where(held.filled.unsqueeze(-1), poison)], dim=-1),
            )
            for held in clean.banks
        ),
    )
    for k in range(2, 9):
        now = cognitive[:, k], perceptual[:, k], torch.full((2,), 0.4 * k)
        (*expected, clean), (*got, dirty) = bank(clean, *now), bank(dirty, *now)
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def test_each_mend_can_be_switched_off_and_shows() -> None:
    cognitive, perceptual = tokens(1, 1, seed=9)

    def fused(t: float = 30.0, **off: Any) -> torch.Tensor:
        torch.manual_seed(0)
        bank = MemoryBank(replace(CONFIG, **off))
        told, _, _ = bank(after(bank, 20), cognitive[:, 0], perceptual[:, 0], torch.tensor([t]))
        return torch.as_tensor(told)

    for off in ({"clock": "steps"}, {"ages": False}, {"by_count": False}, {"together": False}, {"written": "raw"}):
        assert (fused(**off) - fused()).abs().max() > 1e-4, off
    assert torch.equal(fused(t=30.0, ages=False), fused(t=90.0, ages=False))  # what asks has no time
    assert torch.equal(fused(t=30.0, clock="steps"), fused(t=90.0, clock="steps"))
    assert (fused(t=30.0) - fused(t=90.0)).abs().max() > 1e-4


def test_streams_that_merge_apart_lose_their_common_time() -> None:
    banks = after(memory("apart"), 30).banks
    spans = [[(entry.start, entry.end) for entry in MemoryState((held,)).entries()] for held in banks]
    assert spans[0] != spans[1]
    assert all(sum(round((end - start) / 0.4) + 1 for start, end in of_stream) == 30 for of_stream in spans)
