"""What is timed at 7B on a GPU gives, at small sizes here, the numbers of upstream's arithmetic."""

import shutil

import pytest
import torch

from policies.published.benchmark import step
from robomem.report.roofline import floor_ms
from tests.policies.published.run_folder import ENCODER, EXPERTS

EXPERT = EXPERTS["DiT-L"] | {"horizon": 5, "cognitive_dim": 32, "perceptual_dim": 16}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_ways_to_take_a_step_agree(dtype: str) -> None:
    contest = step(ENCODER, EXPERT, patches=4, slots=3, image_size=28, words=9, dtype=dtype, compiled=False, seed=0)
    plain, eager, ours = (contest.ways[name]().float() for name in ("plain", "eager", "ours"))
    scale = plain.abs().max()
    assert torch.equal(eager, ours) and (plain - ours).abs().max() <= contest.close * scale
    assert torch.equal(ours, contest.ways["ours"]().float())  # a step leaves what it is given as it is
    assert plain.shape == (1, 5, 7) and floor_ms(contest.works) > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, where it compiles
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling wants g++")
def test_compiled_layers_give_the_same_numbers() -> None:
    contest = step(ENCODER, EXPERT, patches=4, slots=3, image_size=28, words=9, dtype="float32", compiled=True, seed=0)
    eager, ours = contest.ways["eager"](), contest.ways["ours"]()
    assert not torch.equal(eager, ours) and (eager - ours).abs().max() <= 1e-5 * eager.abs().max()
