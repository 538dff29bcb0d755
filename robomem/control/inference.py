"""A policy run for the loop: inline, for exact repeats, or on a thread, for arms that do not wait."""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from robomem.interfaces import Policy
from robomem.types import ActionChunk, Context, Observation

SAME_TIME = 1e-6  # s; periods are sums of clock ticks and fall short by rounding

type Arm[M] = Callable[[M, Observation], M]
"""An experiment on the memory: what the policy is given in place of the memory it has."""


def as_it_is[M](memory: M, obs: Observation) -> M:
    """The memory, untouched."""
    return memory


class Session[M]:
    """One episode of a policy: its memory, and when it infers next."""

    def __init__(self, policy: Policy[M], memory: M, period_s: float, arm: Arm[M]) -> None:
        self.memory = memory
        self._policy = policy
        self._period_s = period_s
        self._arm = arm
        self._last_t = -math.inf
        self._last_version: int | None = None

    def is_due(self, obs: Observation, context: Context) -> bool:
        """True a period after the last inference, or when the context has changed since."""
        return context.version != self._last_version or obs.t - self._last_t >= self._period_s - SAME_TIME

    def infer(self, obs: Observation, context: Context) -> ActionChunk:
        """The policy's chunk; the memory moves on."""
        self._last_t, self._last_version = obs.t, context.version
        self.memory = self._arm(self.memory, obs)
        return self._policy.infer(obs, context, self.memory)


class InlineInference[M]:
    """Infers in `take`, every `period_s` [s] of the robot's clock and at once when the context changes.

    `arm` may replace the memory before each inference.
    """

    def __init__(self, policy: Policy[M], period_s: float, arm: Arm[M] = as_it_is) -> None:
        self._policy = policy
        self._period_s = _checked(period_s)
        self._arm = arm
        self._session: Session[M] | None = None
        self._newest: tuple[Observation, Context] | None = None

    @property
    def memory(self) -> M:
        """The episode's memory. Raises ValueError before the first episode."""
        return _begun(self._session).memory

    def start(self, seed: int) -> None:
        """Begins an episode with an empty memory."""
        self._newest = None
        self._session = Session(self._policy, self._policy.new_memory(seed), self._period_s, self._arm)

    def submit(self, obs: Observation, context: Context) -> None:
        """Offers an observation; it is used when an inference is due."""
        self._newest = (obs, context)

    def take(self) -> ActionChunk | None:
        """The chunk for the offered observation when one is due, else None. Raises what the policy raises."""
        newest, self._newest = self._newest, None
        session = _begun(self._session)
        return session.infer(*newest) if newest is not None and session.is_due(*newest) else None

    def stop(self) -> None:
        """Ends the episode; its memory can still be read."""
        self._newest = None


class ThreadedInference[M]:
    """Infers on its own thread, so that neither `submit` nor `take` waits.

    At most one inference runs. When `take` finds it finished, the next begins with the newest observation, if due.
    """

    def __init__(self, policy: Policy[M], period_s: float) -> None:
        self._policy = policy
        self._period_s = _checked(period_s)
        self._session: Session[M] | None = None
        self._newest: tuple[Observation, Context] | None = None
        self._running: Future[ActionChunk] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def start(self, seed: int) -> None:
        """Begins an episode with an empty memory; what still runs for an earlier one is forgotten."""
        self.stop()
        self._session = Session(self._policy, self._policy.new_memory(seed), self._period_s, as_it_is)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")

    def submit(self, obs: Observation, context: Context) -> None:
        """Offers an observation; the newest wins."""
        self._newest = (obs, context)
        self._begin()

    def take(self) -> ActionChunk | None:
        """The finished chunk, else None; begins the next. Raises what the policy raised."""
        if self._running is None or not self._running.done():
            return None
        finished, self._running = self._running, None
        self._begin()
        return finished.result()

    def stop(self) -> None:
        """Ends the episode without waiting: a running inference ends on its own and is forgotten."""
        self._newest = self._running = None
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    def _begin(self) -> None:
        """Starts on the newest observation when the thread is free and an inference is due."""
        if self._thread is None or self._running is not None or self._newest is None:
            return
        newest, self._newest = self._newest, None
        session = _begun(self._session)
        if session.is_due(*newest):
            self._running = self._thread.submit(session.infer, *newest)


def _checked(period_s: float) -> float:
    if not (math.isfinite(period_s) and period_s >= 0):
        raise ValueError(f"period_s is {period_s}, expected a finite time of 0 s or more")
    return period_s


def _begun[M](session: Session[M] | None) -> Session[M]:
    if session is None:
        raise ValueError("no episode has begun: call start first")
    return session
