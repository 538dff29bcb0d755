"""The checkpoints in the repository: small, told apart, and fit to run."""

from pathlib import Path

import numpy as np
import pytest

from policies.memoryvla.checkpoint import load_checkpoint, load_policy
from robomem.errors import CheckpointError
from robomem.types import Context, Observation
from tests.policies.demonstrations import REST, panda

SHIPPED = Path(__file__).parents[2] / "policies/memoryvla/checkpoints"


@pytest.mark.parametrize("name", ["memory", "no_memory"])
def test_a_shipped_checkpoint_is_small_says_what_made_it_and_runs(name: str) -> None:
    path = SHIPPED / f"{name}.safetensors"
    assert path.stat().st_size < 20e6  # bytes
    model, _, made_by = load_checkpoint(path)
    assert sum(weights.numel() for weights in model.parameters()) < 5e6
    assert model.config.bank.enabled is (name == "memory")
    assert {"command", "commit", "seed", "seeds", "training", "see_s"} <= made_by.keys()
    policy = load_policy(path, panda())
    memory = policy.new_memory(0)
    images = {camera: np.zeros((64, 64, 3), np.uint8) for camera in ("front", "wrist")}
    for t in (0.0, 0.4):
        chunk = policy.infer(Observation(t, images, REST, np.zeros(7), 0.0), Context("push the red button"), memory)
        assert np.isfinite(chunk.values).all() and np.isfinite(chunk.gripper).all()
        reach = np.linalg.norm(chunk.values[:, :3] - panda().tool_pose(REST)[:3], axis=1)
        assert reach.max() < 0.6  # m
    assert len(memory.entries()) == (2 if name == "memory" else 0)


def test_a_policy_that_is_fitted_to_no_published_model_takes_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="and the policy is fitted to no published model"):
        load_policy(SHIPPED / "memory.safetensors", panda(), published=str(tmp_path))
