"""The floor of a step is that of its weights and tokens."""

import pytest

from robomem.report.roofline import Work, floor_ms

LLAMA_7B, DINO_L, SIGLIP, DIT_L = 6_476_000_000, 302_000_000, 411_000_000, 302_000_000


def test_few_tokens_wait_for_the_weights_and_many_for_the_arithmetic() -> None:
    assert floor_ms([Work(LLAMA_7B, 1)]) == pytest.approx(3.012, abs=1e-3)
    assert floor_ms([Work(LLAMA_7B, 286)]) == pytest.approx(4.689, abs=1e-3)
    assert floor_ms([Work(LLAMA_7B, 1, bytes_each=4)]) == pytest.approx(6.024, abs=2e-3)


def test_a_step_of_the_7b_network_takes_6_5_ms_at_least() -> None:
    works = [Work(DINO_L, 261), Work(SIGLIP, 256), Work(LLAMA_7B, 286), Work(DIT_L, 34, times=10)]
    assert floor_ms(works) == pytest.approx(0.200 + 0.266 + 4.689 + 1.405, abs=5e-3)
