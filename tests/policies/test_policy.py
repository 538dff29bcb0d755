"""MemoryVLA behind the Policy interface, and the arms of an evaluation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.memoryvla.arms import Blank, Kept, Swapped
from policies.memoryvla.model import MemoryVLA
from policies.memoryvla.normalize import Normalizer
from policies.memoryvla.policy import MemoryVLAPolicy
from robomem.memory.state import MemoryState
from robomem.types import Context, Observation
from tests.contracts import SavedMemoryContract
from tests.policies.demonstrations import REST, SMALL, panda

NORMALIZER = Normalizer((0.0,) * 11, (1.0,) * 11, ((0.1,) * 3 + (0.2,) * 3,) * 4)


def make_policy() -> MemoryVLAPolicy:
    torch.manual_seed(0)
    model = MemoryVLA(SMALL)
    for weight in model.expert.parameters():  # an untrained expert ignores what it is given: its output starts at zero
        torch.nn.init.normal_(weight, std=0.1)
    return MemoryVLAPolicy(model, NORMALIZER, panda())


def look(t: float, seed: int = 0) -> Observation:
    random = np.random.default_rng(seed)
    images = {name: random.integers(0, 255, (32, 32, 3), dtype=np.uint8) for name in ("front", "wrist")}
    return Observation(t, images, REST, np.zeros(7), 0.5)


class TestContract(SavedMemoryContract):
    @pytest.fixture
    def policy(self) -> MemoryVLAPolicy:
        return make_policy()

    @pytest.fixture
    def obs(self) -> Observation:
        return look(1.0)

    @pytest.fixture
    def context(self) -> Context:
        return Context("push the red button")


def watched(policy: MemoryVLAPolicy, arm, steps: int, seed: int = 0) -> tuple[MemoryState, list[np.ndarray]]:
    """The memory and chunks of an episode run with `arm`."""
    memory, chunks = policy.new_memory(0), []
    for k in range(steps):
        obs = look(0.4 * k, seed + k)
        memory = arm(memory, obs)
        chunks.append(policy.infer(obs, Context("go"), memory).values)
    return memory, chunks


def test_a_chunk_starts_from_the_tool_and_keeps_unit_quaternions() -> None:
    policy = make_policy()
    chunk = policy.infer(look(0.0), Context("go"), policy.new_memory(0))
    assert np.linalg.norm(chunk.values[:, 3:], axis=1) == pytest.approx(np.ones(4))
    assert np.abs(chunk.values[:, :3] - panda().tool_pose(REST)[:3]).max() < 1.0
    assert ((chunk.gripper >= 0) & (chunk.gripper <= 1)).all()


def test_a_blank_memory_is_the_first_moment_every_time() -> None:
    policy = make_policy()
    _, blank = watched(policy, Blank(), 4)
    memory = policy.new_memory(0)
    memory.step = 3
    assert np.array_equal(blank[3], policy.infer(look(1.2, 3), Context("go"), memory).values)
    _, kept = watched(policy, Kept(), 4)
    assert np.array_equal(blank[0], kept[0]) and not np.array_equal(blank[3], kept[3])


def test_a_swapped_memory_is_the_other_episode_s_at_its_own_age() -> None:
    policy, donor = make_policy(), Kept()
    watched(policy, donor, 6, seed=50)
    swapped = Swapped(donor.history, offset=2)
    memory = policy.new_memory(9)
    memory.step = 7
    given = swapped(memory, look(20.0))
    t, other = donor.history[2]
    assert torch.equal(given.banks[0].tokens, other.banks[0].tokens)
    held = int(other.length[0])
    assert (20.0 - given.banks[0].end[0, :held]).tolist() == pytest.approx((t - other.banks[0].end[0, :held]).tolist())
    assert (given.seed, given.step) == (9, 7)
    following = swapped(memory, look(20.4))
    assert torch.equal(following.banks[0].tokens, donor.history[3][1].banks[0].tokens)
    with pytest.raises(ValueError, match="no memory"):
        Swapped([], offset=0)


def test_the_history_of_an_episode_is_not_changed_by_what_follows() -> None:
    policy, donor = make_policy(), Kept()
    watched(policy, donor, 5)
    assert [int(memory.length[0]) for _, memory in donor.history] == [0, 1, 2, 3, 4]


def test_thumbnails_are_what_the_first_camera_saw() -> None:
    policy = make_policy()
    memory, _ = watched(policy, Kept(), 7)
    for entry in memory.entries():
        assert entry.thumbnail is not None
        assert np.array_equal(entry.thumbnail, look(0, round(entry.start / 0.4)).images["front"])


def test_the_body_the_policy_was_trained_with_is_the_body_it_accepts() -> None:
    obs = replace(look(0.0), images={name: np.zeros((64, 64, 3), np.uint8) for name in ("front", "wrist")})
    with pytest.raises(Exception, match="the policy expects"):
        make_policy().infer(obs, Context("go"), make_policy().new_memory(0))
