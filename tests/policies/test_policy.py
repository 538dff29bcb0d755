"""MemoryVLA behind the Policy interface, and the arms of an evaluation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.memoryvla.arms import Blank, Kept, Swapped
from policies.memoryvla.model import MemoryVLA
from policies.memoryvla.normalize import Normalizer
from policies.memoryvla.policy import Joining, MemoryVLAPolicy
from robomem.memory.state import MemoryState
from robomem.types import Context, Observation
from tests.contracts import SavedMemoryContract
from tests.policies.demonstrations import REST, SMALL, panda

NORMALIZER = Normalizer((0.0,) * 11, (1.0,) * 11, ((0.1,) * 3 + (0.2,) * 3,) * 4)


def make_policy(joining: Joining = "none", max_delay: int = 0) -> MemoryVLAPolicy:
    torch.manual_seed(0)
    model = MemoryVLA(replace(SMALL, sampler=replace(SMALL.sampler, max_delay=max_delay)))
    for weight in model.expert.parameters():  # an untrained expert ignores what it is given: its output starts at zero
        torch.nn.init.normal_(weight, std=0.1)
    return MemoryVLAPolicy(model, NORMALIZER, panda(), joining)


def look(t: float, seed: int = 0) -> Observation:
    random = np.random.default_rng(seed)
    images = {name: random.integers(0, 255, (32, 32, 3), dtype=np.uint8) for name in ("front", "wrist")}
    return Observation(t, images, REST, np.zeros(7), 0.5)


@pytest.mark.parametrize("joining", ["none", "guided", "prefix"])
class TestContract(SavedMemoryContract):
    @pytest.fixture
    def policy(self, joining: Joining) -> MemoryVLAPolicy:
        return make_policy(joining, max_delay=3)

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


# --- a new chunk joins the running one ---


def test_the_running_chunk_in_the_expert_s_terms_is_the_same_chunk() -> None:
    policy, memory = make_policy("guided"), MemoryState(())
    pose = panda().tool_pose(REST)
    actions = np.random.default_rng(0).normal(size=(4, 7)) * 0.5
    memory.running = policy._chunk(2.0, pose, actions, version=1)
    again = policy._running(2.0, 1, pose, memory)
    assert again is not None and again.known.tolist() == [4]
    np.testing.assert_allclose(again.actions[0].numpy(), actions, atol=1e-6)
    moved = panda().tool_pose(REST + 0.1)  # the arm went on: other numbers, the same places
    there = policy._running(2.1, 1, moved, memory)
    assert there is not None and there.known.tolist() == [3]
    back = policy._chunk(2.1, moved, there.actions[0].double().numpy(), version=1)
    for t in (2.1, 2.15, 2.2, 2.3):
        (one, grip), (other, its) = back.at(t), memory.running.at(min(t, memory.running.t[-1]))
        np.testing.assert_allclose(one[:3], other[:3], atol=1e-6)
        assert abs(one[3:] @ other[3:]) == pytest.approx(1, abs=1e-6) and grip == pytest.approx(its, abs=1e-6)


@pytest.mark.parametrize(("delay_s", "promised"), [(0.0, 1), (0.1, 2), (0.15, 3), (0.2, 3), (0.9, 3)])
def test_promised_is_all_up_to_where_the_new_chunk_takes_over(delay_s: float, promised: int) -> None:
    policy, memory = make_policy("guided"), MemoryState((), delay_s=delay_s)
    pose = panda().tool_pose(REST)
    memory.running = policy._chunk(0.1 + 0.2, pose, np.zeros((4, 7)), version=0)  # a float less than 0.3 + 0.1
    running = policy._running(0.4, 0, pose, memory)
    assert running is not None and (running.promised.tolist(), running.known.tolist()) == ([promised], [3])


@pytest.mark.parametrize("joining", ["guided", "prefix"])
@pytest.mark.parametrize("delay_s", [0.0, 0.1])
def test_where_it_takes_over_a_joining_chunk_is_where_the_arm_was_going(joining: Joining, delay_s: float) -> None:
    jumps = {}
    for how in ("none", joining):
        policy = make_policy(how, max_delay=3)
        memory = policy.new_memory(0)
        memory.delay_s = delay_s
        old = policy.infer(look(0.0), Context("go"), memory)
        new = policy.infer(look(0.2, seed=1), Context("go"), memory)
        at = 0.2 + delay_s
        jumps[how] = np.abs(new.at(at)[0] - old.at(at)[0]).max()
    assert jumps["none"] > 1e-3 and jumps[joining] < 1e-6


@pytest.mark.parametrize("joining", ["guided", "prefix"])
def test_a_chunk_of_another_context_or_another_time_is_not_joined(joining: Joining) -> None:
    policy = make_policy(joining, max_delay=3)
    free, memory = make_policy(max_delay=3), policy.new_memory(0)
    policy.infer(look(0.0), Context("go", version=1), memory)
    for obs, version in ((look(0.2, 1), 2), (look(0.9, 1), 1), (look(-5.0, 1), 1)):
        context, alone = Context("go", version=version), memory.fork()
        assert np.array_equal(policy.infer(obs, context, memory.fork()).values, free.infer(obs, context, alone).values)
    joined = policy.infer(look(0.2, 1), Context("go", version=1), memory.fork())
    assert not np.array_equal(joined.values, free.infer(look(0.2, 1), Context("go", version=1), memory).values)


def test_ways_of_joining_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="trained with max_delay=0; without training: guided"):
        make_policy("prefix")
    with pytest.raises(ValueError, match="joining is 'blend', expected one of: none, prefix, guided"):
        make_policy("blend")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pull is -1"):
        MemoryVLAPolicy(MemoryVLA(SMALL), NORMALIZER, panda(), "guided", -1.0)
    with pytest.raises(ValueError, match="max_delay is 4, expected less than the 4 actions of a chunk"):
        make_policy(max_delay=4)


def test_a_swapped_memory_runs_on_with_what_its_own_arm_does() -> None:
    policy, donor = make_policy("guided"), Kept()
    watched(policy, donor, 3, seed=50)
    memory = policy.new_memory(9)
    own = policy.infer(look(20.0), Context("go"), memory)
    assert Swapped(donor.history, offset=2)(memory, look(20.4)).running is own


@pytest.mark.parametrize("slots", [1, 2, 40])
def test_a_memory_has_as_many_slots_as_wanted_at_run_time(slots: int) -> None:
    policy = make_policy()
    same_weights = MemoryVLAPolicy(policy.model, NORMALIZER, panda(), slots=slots)
    memory, _ = watched(same_weights, lambda memory, obs: memory, 30)
    entries = memory.entries()
    assert len(entries) == min(slots, 30)
    assert sum(entry.count for entry in entries) == 30


def test_a_policy_is_asked_at_another_rate_than_in_training() -> None:
    policy = make_policy()
    assert policy.period == SMALL.period
    assert MemoryVLAPolicy(policy.model, NORMALIZER, panda(), period=0.2).period == 0.2


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"period": 0.0}, "period is 0.0 s, expected more than 0 and at most 0.4 s, as long as a chunk"),
        ({"period": 0.5}, "period is 0.5 s, expected more than 0"),
        ({"period": float("nan")}, "period is nan s, expected more than 0"),
        ({"slots": 0}, "slots is 0, expected 1 or more"),
    ],
)
def test_what_a_policy_cannot_be_run_with_is_refused(how: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MemoryVLAPolicy(make_policy().model, NORMALIZER, panda(), **how)  # type: ignore[arg-type]
