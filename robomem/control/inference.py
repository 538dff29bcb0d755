"""A policy run for the loop: inline, for exact repeats, or on a thread, for arms that do not wait."""

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from robomem.interfaces import Delayed, Policy
from robomem.types import ActionChunk, Context, Observation

SAME_TIME = 1e-6  # s; periods are sums of clock ticks and fall short by rounding
DELAYS = 10  # of the last inferences, the longest is what the next is expected to take

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
        self.delay_s = 0.0
        """How long after its observation a chunk is expected to take over [s]."""

    def is_due(self, obs: Observation, context: Context) -> bool:
        """True a period after the last inference, or when the context has changed since."""
        return context.version != self._last_version or obs.t - self._last_t >= self._period_s - SAME_TIME

    def infer(self, obs: Observation, context: Context) -> ActionChunk:
        """The policy's chunk; the memory moves on."""
        self._last_t, self._last_version = obs.t, context.version
        self.memory = self._arm(self.memory, obs)
        if isinstance(self.memory, Delayed):
            self.memory.delay_s = self.delay_s
        return self._policy.infer(obs, context, self.memory)


class InlineInference[M]:
    """Infers in `take`, every `period_s` [s] of the robot's clock and at once when the context changes.

    `arm` may replace the memory before each inference. Every chunk comes `delay_s` [s] after its observation, as from a
    policy that takes as long: meanwhile nothing else is inferred.
    """

    def __init__(self, policy: Policy[M], period_s: float, arm: Arm[M] = as_it_is, delay_s: float = 0.0) -> None:
        self._policy = policy
        self._period_s = _checked("period_s", period_s)
        self._delay_s = _checked("delay_s", delay_s)
        self._arm = arm
        self._session: Session[M] | None = None
        self._newest: tuple[Observation, Context] | None = None
        self._coming: tuple[float, ActionChunk] | None = None

    @property
    def memory(self) -> M:
        """The episode's memory. Raises ValueError before the first episode."""
        return _begun(self._session).memory

    def start(self, seed: int) -> None:
        """Begins an episode with an empty memory."""
        self._newest = self._coming = None
        self._session = Session(self._policy, self._policy.new_memory(seed), self._period_s, self._arm)
        self._session.delay_s = self._delay_s

    def submit(self, obs: Observation, context: Context) -> None:
        """Offers an observation; it is used when an inference is due."""
        self._newest = (obs, context)

    def take(self) -> ActionChunk | None:
        """The chunk that is due at the offered observation, else None. Raises what the policy raises."""
        newest, self._newest = self._newest, None
        session = _begun(self._session)
        if newest is None:
            return None
        now = newest[0].t
        if self._coming is None and session.is_due(*newest):
            self._coming = now + self._delay_s, session.infer(*newest)
        if self._coming is None or now < self._coming[0] - SAME_TIME:
            return None
        (_, chunk), self._coming = self._coming, None
        return chunk

    def stop(self) -> None:
        """Ends the episode; its memory can still be read."""
        self._newest = self._coming = None


class ThreadedInference[M]:
    """Infers on its own thread, so that neither `submit` nor `take` waits.

    At most one inference runs. When `take` finds it finished, the next begins with the newest observation, if due. How
    long a chunk takes is measured by the robot's clock, from its own observation to the one offered when it is taken;
    the next is expected to take as long as the longest of the last (Black et al. 2025, arXiv 2506.07339, alg. 1).
    """

    def __init__(self, policy: Policy[M], period_s: float) -> None:
        self._policy = policy
        self._period_s = _checked("period_s", period_s)
        self._session: Session[M] | None = None
        self._newest: tuple[Observation, Context] | None = None
        self._began_t = self._offered_t = 0.0
        self._delays_s: deque[float] = deque(maxlen=DELAYS)
        self._running: Future[ActionChunk] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def start(self, seed: int) -> None:
        """Begins an episode with an empty memory; what still runs for an earlier one is forgotten."""
        self.stop()
        self._session = Session(self._policy, self._policy.new_memory(seed), self._period_s, as_it_is)
        self._delays_s.clear()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")

    def submit(self, obs: Observation, context: Context) -> None:
        """Offers an observation; the newest wins."""
        self._newest, self._offered_t = (obs, context), obs.t
        self._begin()

    def take(self) -> ActionChunk | None:
        """The finished chunk, else None; begins the next. Raises what the policy raised."""
        if self._running is None or not self._running.done():
            return None
        finished, self._running = self._running, None
        self._delays_s.append(self._offered_t - self._began_t)
        _begun(self._session).delay_s = max(self._delays_s)
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
            self._began_t = newest[0].t
            self._running = self._thread.submit(session.infer, *newest)


def _checked(name: str, time_s: float) -> float:
    if not (math.isfinite(time_s) and time_s >= 0):
        raise ValueError(f"{name} is {time_s}, expected a finite time of 0 s or more")
    return time_s


def _begun[M](session: Session[M] | None) -> Session[M]:
    if session is None:
        raise ValueError("no episode has begun: call start first")
    return session
