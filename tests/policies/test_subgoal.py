"""The sub-goal: which thing, chosen by memory, and where it is, told by sight."""

import torch

from policies.memoryvla.model import MemoryVLA, SubGoal
from tests.policies.demonstrations import SMALL

PLACES = torch.tensor([[[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.1, 0.0, 0.0]]]).expand(4, -1, -1)
VISIBLE = torch.tensor([[1.0, 1.0, 0.0]]).expand(4, -1)


def test_a_sub_goal_is_the_nearest_thing_in_sight_or_none() -> None:
    place = torch.tensor([[0.1, 0.0, 0.0], [1.9, 0.1, 0.0], [0.0, 0.0, 3.6], [0.0, 1.4, 0.0]])
    aim = SubGoal.among(PLACES, VISIBLE, place, torch.zeros(4, dtype=torch.int64))
    assert aim.which.tolist() == [0, 1, 3, 0]  # the third thing is nearer to the first place, but out of sight


def model_that_chooses(which: int) -> MemoryVLA:
    torch.manual_seed(0)
    model = MemoryVLA(SMALL).eval().requires_grad_(False)
    model.home.copy_(torch.tensor([-1.0, 0.5, 3.0]))
    model.goal[2].bias[which] = 100.0
    return model


def told(model: MemoryVLA, seen: torch.Tensor) -> torch.Tensor:
    """The place that the expert is given, (B, 3)."""
    encoder = SMALL.encoder
    fused = torch.zeros(len(seen), 1, encoder.dim), torch.zeros_like(seen), torch.zeros(len(seen), encoder.proprio)
    return model.condition(*fused, seen, torch.zeros(len(seen), 3)).cognitive[:, 0, encoder.dim : encoder.dim + 3]


def test_the_place_is_where_the_chosen_thing_is_seen_now() -> None:
    seen = torch.randn(
        2, SMALL.encoder.tokens, SMALL.encoder.perceptual_dim, generator=torch.Generator().manual_seed(1)
    )
    for which in (0, 3):
        model = model_that_chooses(which)
        torch.testing.assert_close(told(model, seen), model.entity_of_token(seen[:, which])[:, :3])
        assert not torch.allclose(told(model, seen + 1), told(model, seen))


def test_after_no_thing_the_arm_goes_home() -> None:
    model = model_that_chooses(SMALL.entities)
    seen = torch.randn(
        2, SMALL.encoder.tokens, SMALL.encoder.perceptual_dim, generator=torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(told(model, seen), model.home.expand(2, 3))


def test_the_loss_asks_for_the_right_thing_and_says_how_often_it_was() -> None:
    seen = torch.zeros(4, SMALL.encoder.tokens, SMALL.encoder.perceptual_dim)
    aim = SubGoal.among(PLACES, VISIBLE, torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))
    right, wrong = (model_that_chooses(k).goal_loss(torch.zeros(4, 1, SMALL.encoder.dim), seen, aim) for k in (0, 1))
    assert right[0] < 1 < wrong[0]
    assert right[1]["goal_which"] == 1 and wrong[1]["goal_which"] == 0
