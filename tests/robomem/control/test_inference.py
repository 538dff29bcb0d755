"""A policy inline and on its own thread. The thread is held and let go by the test; nothing waits for time to pass."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from robomem.control.inference import InlineInference, ThreadedInference
from robomem.types import ActionChunk, Context, Observation
from tests.robomem.control.noting_policy import Notes, NotingPolicy

PERIOD = 0.25
CONTEXT = Context("go", (), 1)
LONG = 20.0  # s, after which a test that hangs has failed


def obs_at(t: float) -> Observation:
    return Observation(t, {"front": np.zeros((4, 6, 3), np.uint8)}, [0.0, 0.0], [0.0, 0.0], 0.5)


def eventually[T](ask: Callable[[], T | None]) -> T:
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if (answer := ask()) is not None:
            return answer
        time.sleep(0.001)
    raise TimeoutError("no answer")


# --- inline ---


def inline(policy: NotingPolicy, **options: Any) -> InlineInference[Notes]:
    inference = InlineInference(policy, PERIOD, **options)
    inference.start(3)
    return inference


def test_inline_infers_when_the_period_has_passed() -> None:
    policy = NotingPolicy()
    inference = inline(policy)
    for t in (0.0, 0.1, 0.2, 0.25, 0.3, 0.499, 0.5):
        inference.submit(obs_at(t), CONTEXT)
        chunk = inference.take()
        assert (chunk is not None) == (t in (0.0, 0.25, 0.5))
    assert policy.asked == [(0.0, 1), (0.25, 1), (0.5, 1)]


def test_a_period_of_many_rounded_ticks_is_not_missed() -> None:
    policy, t = NotingPolicy(), 0.0
    inference = InlineInference(policy, 0.3)
    inference.start(0)
    for _ in range(301):  # 0.1 + 0.1 + 0.1 is not 0.3
        inference.submit(obs_at(t), CONTEXT)
        inference.take()
        t += 0.1
    assert len(policy.asked) == 101


def test_inline_infers_at_once_when_the_context_changes() -> None:
    policy = NotingPolicy()
    inference = inline(policy)
    for t, version in ((0.0, 1), (0.1, 2), (0.2, 2), (0.3, 2), (0.35, 2)):
        inference.submit(obs_at(t), replace(CONTEXT, version=version))
        inference.take()
    assert policy.asked == [(0.0, 1), (0.1, 2), (0.35, 2)]


def test_inline_takes_each_observation_once() -> None:
    inference = InlineInference(NotingPolicy(), 0.0)
    inference.start(0)
    assert inference.take() is None
    inference.submit(obs_at(0.0), CONTEXT)
    assert isinstance(inference.take(), ActionChunk)
    assert inference.take() is None


def test_inline_the_newest_observation_wins() -> None:
    policy = NotingPolicy()
    inference = inline(policy)
    inference.submit(obs_at(0.0), CONTEXT)
    inference.submit(obs_at(0.1), CONTEXT)
    inference.take()
    assert policy.asked == [(0.1, 1)]


def test_inline_an_episode_begins_with_an_empty_memory_of_its_seed() -> None:
    inference = inline(NotingPolicy())
    inference.submit(obs_at(5.0), CONTEXT)
    inference.take()
    assert inference.memory == Notes(3, [5.0])
    inference.submit(obs_at(6.0), CONTEXT)
    inference.start(4)
    assert inference.take() is None
    assert inference.memory == Notes(4, [])
    inference.submit(obs_at(0.0), CONTEXT)
    assert inference.take() is not None


def test_inline_stopping_may_be_repeated_and_drops_what_was_offered() -> None:
    inference = inline(NotingPolicy())
    inference.submit(obs_at(0.0), CONTEXT)
    inference.stop()
    inference.stop()
    assert inference.take() is None
    assert inference.memory == Notes(3, [])


def test_inline_before_the_first_episode_there_is_nothing_to_take() -> None:
    inference = InlineInference(NotingPolicy(), PERIOD)
    inference.stop()
    with pytest.raises(ValueError, match="no episode has begun: call start first"):
        inference.take()
    with pytest.raises(ValueError, match="no episode has begun"):
        _ = inference.memory


def test_an_arm_may_replace_the_memory_before_each_inference() -> None:
    given: list[tuple[list[float], float]] = []

    def blank(memory: Notes, obs: Observation) -> Notes:
        given.append((list(memory.seen), obs.t))
        return Notes(memory.seed)

    inference = inline(NotingPolicy(), arm=blank)
    for t in (0.0, 0.1, 0.25, 0.5):
        inference.submit(obs_at(t), CONTEXT)
        inference.take()
    assert given == [([], 0.0), ([0.0], 0.25), ([0.25], 0.5)]
    assert inference.memory == Notes(3, [0.5])


def test_inline_what_the_policy_raises_comes_out_of_take() -> None:
    inference = inline(NotingPolicy(n_joints=3))
    inference.submit(obs_at(0.0), CONTEXT)
    with pytest.raises(Exception, match="2 joints; trained with: 3"):
        inference.take()


def test_inline_a_chunk_comes_late_by_the_delay_and_nothing_is_inferred_meanwhile() -> None:
    policy = NotingPolicy()
    inference = inline(policy, delay_s=0.2)
    taken = {}
    for k in range(13):
        inference.submit(obs_at(0.05 * k), CONTEXT)
        if (chunk := inference.take()) is not None:
            taken[k] = float(chunk.t[0])
    assert taken == {4: 0.0, 9: pytest.approx(0.25)}
    assert [t for t, _ in policy.asked] == pytest.approx([0.0, 0.25, 0.5])


def test_inline_a_chunk_that_is_coming_ends_with_its_episode() -> None:
    inference = inline(NotingPolicy(), delay_s=0.2)
    inference.submit(obs_at(0.0), CONTEXT)
    assert inference.take() is None
    inference.start(4)
    inference.submit(obs_at(9.0), CONTEXT)
    assert inference.take() is None
    inference.submit(obs_at(9.2), CONTEXT)
    chunk = inference.take()
    assert chunk is not None and chunk.t[0] == 9.0


@dataclass
class DelayedNotes(Notes):
    """A memory that is told of the delay."""

    delay_s: float = 0.0


class Listening(NotingPolicy):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[float] = []

    def new_memory(self, seed: int) -> DelayedNotes:
        return DelayedNotes(seed)

    def infer(self, obs: Observation, context: Context, memory: Notes) -> ActionChunk:
        assert isinstance(memory, DelayedNotes)
        self.told.append(memory.delay_s)
        return super().infer(obs, context, memory)


def test_a_policy_is_told_how_late_its_chunks_come() -> None:
    policy = Listening()
    inference = inline(policy, delay_s=0.1)
    for k in range(6):
        inference.submit(obs_at(0.1 * k), CONTEXT)
        inference.take()
    assert policy.told == [0.1, 0.1]


def test_on_a_thread_the_delay_is_the_longest_measured() -> None:
    policy = Listening()
    inference = ThreadedInference(policy, PERIOD)
    inference.start(0)
    for begun, taken in ((0.0, 0.2), (0.25, 0.3), (0.5, 0.9), (1.0, 1.0)):
        inference.submit(obs_at(begun), CONTEXT)
        assert inference._running is not None
        inference._running.result(LONG)
        inference.submit(obs_at(taken), CONTEXT)
        assert inference.take() is not None
    assert policy.told == pytest.approx([0.0, 0.2, 0.2, 0.4])  # of those at 0.0, 0.25, 0.5 and 0.9
    inference.start(1)  # another episode measures anew
    inference.submit(obs_at(0.0), CONTEXT)
    eventually(inference.take)
    assert policy.told[-1] == 0.0
    inference.stop()


@pytest.mark.parametrize("delay_s", [-0.1, math.nan, math.inf])
def test_a_delay_that_is_not_a_time_is_an_error(delay_s: float) -> None:
    with pytest.raises(ValueError, match=r"delay_s is .*, expected a finite time of 0 s or more"):
        InlineInference(NotingPolicy(), PERIOD, delay_s=delay_s)


@pytest.mark.parametrize("kind", [InlineInference, ThreadedInference])
@pytest.mark.parametrize("period_s", [-0.1, math.nan, math.inf])
def test_a_period_that_is_not_a_time_is_an_error(kind: type, period_s: float) -> None:
    with pytest.raises(ValueError, match=r"period_s is .*, expected a finite time of 0 s or more"):
        kind(NotingPolicy(), period_s)


# --- on a thread ---


class Gated(NotingPolicy):
    """Waits in `infer` until the test opens the gate for it, once per inference."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.gate = threading.Semaphore(0), threading.Semaphore(0)
        self.fails: Exception | None = None
        self.threads: set[int] = set()

    def infer(self, obs: Observation, context: Context, memory: Notes) -> ActionChunk:
        self.threads.add(threading.get_ident())
        self.entered.release()
        assert self.gate.acquire(timeout=LONG)
        if self.fails is not None:
            raise self.fails
        return super().infer(obs, context, memory)

    def wait_until_entered(self) -> None:
        assert self.entered.acquire(timeout=LONG)


@pytest.fixture
def policy() -> Iterator[Gated]:
    policy = Gated()
    yield policy
    for _ in range(10):
        policy.gate.release()


@pytest.fixture
def threaded(policy: Gated) -> Iterator[ThreadedInference[Notes]]:
    inference = ThreadedInference(policy, PERIOD)
    inference.start(3)
    yield inference
    inference.stop()


def test_neither_submit_nor_take_waits_for_the_thread(policy: Gated, threaded: ThreadedInference[Notes]) -> None:
    threaded.submit(obs_at(0.0), CONTEXT)
    policy.wait_until_entered()
    for t in (0.1, 0.2, 0.3):
        threaded.submit(obs_at(t), CONTEXT)
        assert threaded.take() is None
    policy.gate.release()
    chunk = eventually(threaded.take)
    assert chunk.t[0] == 0.0
    assert threading.get_ident() not in policy.threads


def test_when_the_thread_is_free_the_newest_observation_wins(policy: Gated, threaded: ThreadedInference[Notes]) -> None:
    for t in (0.0, 0.3, 0.4):
        threaded.submit(obs_at(t), CONTEXT)
    policy.gate.release()
    eventually(threaded.take)
    policy.gate.release()
    assert eventually(threaded.take).t[0] == 0.4
    assert policy.asked == [(0.0, 1), (0.4, 1)]


def test_the_thread_rests_until_the_period_has_passed(policy: Gated, threaded: ThreadedInference[Notes]) -> None:
    threaded.submit(obs_at(0.0), CONTEXT)
    policy.gate.release()
    eventually(threaded.take)
    threaded.submit(obs_at(0.2), CONTEXT)
    assert threaded.take() is None
    threaded.submit(obs_at(0.25), CONTEXT)
    policy.gate.release()
    eventually(threaded.take)
    assert policy.asked == [(0.0, 1), (0.25, 1)]


def test_the_thread_infers_at_once_when_the_context_changes(policy: Gated, threaded: ThreadedInference[Notes]) -> None:
    threaded.submit(obs_at(0.0), CONTEXT)
    policy.gate.release()
    eventually(threaded.take)
    threaded.submit(obs_at(0.1), replace(CONTEXT, version=2))
    policy.gate.release()
    assert eventually(threaded.take).context_version == 2


def test_a_chunk_is_taken_once(policy: Gated, threaded: ThreadedInference[Notes]) -> None:
    threaded.submit(obs_at(0.0), CONTEXT)
    policy.gate.release()
    eventually(threaded.take)
    assert threaded.take() is None


def test_what_the_policy_raises_on_its_thread_comes_out_of_take(
    policy: Gated, threaded: ThreadedInference[Notes]
) -> None:
    policy.fails = RuntimeError("no more memory")
    threaded.submit(obs_at(0.0), CONTEXT)
    policy.gate.release()
    with pytest.raises(RuntimeError, match="no more memory"):
        eventually(threaded.take)
    policy.fails = None
    threaded.submit(obs_at(1.0), CONTEXT)
    policy.gate.release()
    assert eventually(threaded.take).t[0] == 1.0


def test_what_ran_for_an_earlier_episode_is_forgotten(policy: Gated, threaded: ThreadedInference[Notes]) -> None:
    threaded.submit(obs_at(0.0), CONTEXT)
    policy.wait_until_entered()
    threaded.submit(obs_at(9.0), CONTEXT)
    threaded.start(4)
    threaded.submit(obs_at(1.0), CONTEXT)
    policy.wait_until_entered()
    policy.gate.release()
    policy.gate.release()
    assert eventually(threaded.take).t[0] == 1.0
    assert threaded.take() is None
    assert 9.0 not in [t for t, _ in policy.asked]


def test_stopping_does_not_wait_and_leaves_no_thread_behind(policy: Gated) -> None:
    inference = ThreadedInference(policy, PERIOD)
    inference.stop()
    before = set(threading.enumerate())
    inference.start(0)
    inference.submit(obs_at(0.0), CONTEXT)
    policy.wait_until_entered()
    inference.stop()
    inference.stop()
    inference.submit(obs_at(1.0), CONTEXT)
    assert inference.take() is None
    thread = (set(threading.enumerate()) - before).pop()
    assert thread.name.startswith("inference")
    policy.gate.release()
    thread.join(LONG)
    assert not thread.is_alive()
    assert policy.asked == [(0.0, 1)]


def test_inline_and_threaded_give_the_same_chunks_for_the_same_observations(
    policy: Gated, threaded: ThreadedInference[Notes]
) -> None:
    same = InlineInference(NotingPolicy(), PERIOD)
    same.start(3)
    for t in (0.0, 0.25, 0.5):
        threaded.submit(obs_at(t), CONTEXT)
        policy.gate.release()
        same.submit(obs_at(t), CONTEXT)
        one, other = eventually(threaded.take), same.take()
        assert other is not None
        assert one.values.tolist() == other.values.tolist()
