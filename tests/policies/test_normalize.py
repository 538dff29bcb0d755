"""Units of the robot and of the network."""

import numpy as np
import pytest

from policies.memoryvla.normalize import Normalizer


@pytest.fixture
def actions() -> np.ndarray:
    """Chunks (F, h, 7) whose later steps are longer, as those of a moving arm are."""
    random = np.random.default_rng(0)
    reach = np.array([0.03, 0.1, 0.3])[:, None] * np.array([1, 2, 3, 4, 4, 4])
    return np.concatenate([random.normal(size=(500, 3, 6)) * reach, random.random((500, 3, 1))], axis=-1)


def test_every_step_of_a_chunk_has_unit_size(actions: np.ndarray) -> None:
    normalizer = Normalizer.fit(np.random.default_rng(1).normal(size=(500, 11)), actions)
    inside = normalizer.actions_in(actions)
    np.testing.assert_allclose((inside[..., :6] ** 2).mean(0) ** 0.5, 1, rtol=1e-6)
    assert inside[..., 6].min() >= -1 and inside[..., 6].max() <= 1
    np.testing.assert_allclose(normalizer.actions_out(inside), actions, atol=1e-9)


def test_what_hardly_moves_is_not_blown_up(actions: np.ndarray) -> None:
    still = actions * np.array([0, 0, 0, 0, 0, 0, 1])
    normalizer = Normalizer.fit(np.zeros((500, 11)), still + np.array([1e-4] * 6 + [0]))
    assert np.abs(normalizer.actions_in(still + np.array([1e-4] * 6 + [0]))[..., :6]).max() < 0.01
    assert min(normalizer.proprio_std) > 0


def test_what_a_checkpoint_holds_is_the_same_normalizer(actions: np.ndarray) -> None:
    normalizer = Normalizer.fit(np.random.default_rng(1).normal(size=(500, 11)), actions)
    held = {"proprio_mean": list(normalizer.proprio_mean), "proprio_std": list(normalizer.proprio_std)}
    assert Normalizer.of({**held, "action_scale": [list(row) for row in normalizer.action_scale]}) == normalizer
    with pytest.raises(TypeError):
        Normalizer.of({**held, "action_scale": [0.1, 0.2]})
