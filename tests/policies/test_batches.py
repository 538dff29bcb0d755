"""Draws of frames: how much each number of a chunk counts."""

import numpy as np
import torch

from policies.memoryvla.batches import USUAL, Batches
from policies.memoryvla.frames import FrameTable
from policies.memoryvla.normalize import PLACE_ORIGIN, Normalizer

FRAMES, HORIZON = 40, 4
FAST, SLOW = slice(0, 20), slice(20, 40)  # frames of two kinds of steps


def batches() -> Batches:
    """One episode whose second half moves twenty times less; its last frame ends the episode after one action."""
    random = np.random.default_rng(0)
    actions = random.normal(0, 0.1, (FRAMES, HORIZON, 7)).astype(np.float32)
    actions[SLOW, :, :3] /= 20
    valid = np.ones((FRAMES, HORIZON), np.float32)
    valid[-1, 1:] = 0
    columns = {
        "proprio": np.tile(PLACE_ORIGIN, (FRAMES, 1)),
        "goal": np.zeros((FRAMES, 3), np.float32),
        "kind": np.repeat([0, 1], FRAMES // 2),
        "actions": actions,
        "valid": valid,
        "task": np.array([0]),
        "first": np.array([0, FRAMES]),
    }
    table = FrameTable(columns, ("press",), 0.1, {"press": (0, 0)}, "")
    return Batches(table, None, Normalizer.fit(columns["proprio"], actions), torch.device("cpu"))


def test_moments_that_move_little_count_more_and_no_more_than_the_least_usual_move_allows() -> None:
    _, counts = batches().done(np.arange(FRAMES))
    assert (counts[SLOW.start, 0, :3] > counts[FAST.start, 0, :3]).all()
    torch.testing.assert_close(counts[SLOW.start, 0, :3], torch.full((3,), 1 / USUAL[0] ** 2))


def test_turns_and_the_gripper_count_the_same_everywhere() -> None:
    _, counts = batches().done(np.arange(FRAMES))
    assert (counts[:-1, :, 3:] == 1).all()


def test_what_lies_after_the_end_of_an_episode_does_not_count() -> None:
    _, counts = batches().done(np.arange(FRAMES))
    assert (counts[-1, 1:] == 0).all() and (counts[-1, 0] > 0).all()
