"""What the memory is worth: the same weights, another memory at every step (the arms of an evaluation).

Each is called with the memory and the observation before every inference and returns the memory to use.
"""

from robomem.memory.state import MemoryState
from robomem.types import Observation


class Kept:
    """The memory as it is; remembers its history, so that another episode can be given it."""

    def __init__(self) -> None:
        self.history: list[tuple[float, MemoryState]] = []

    def __call__(self, memory: MemoryState, obs: Observation) -> MemoryState:
        """`memory`, noted with its time."""
        self.history.append((obs.t, memory.fork()))
        return memory


class Blank:
    """Nothing was ever seen before."""

    def __call__(self, memory: MemoryState, obs: Observation) -> MemoryState:
        """An empty memory with the noise of this step."""
        blank = memory.fork()
        blank.reset()
        blank.step = memory.step
        return blank


class Swapped:
    """The memory of another episode of the same task, `offset` inferences ahead, its clock set to this one's."""

    def __init__(self, history: list[tuple[float, MemoryState]], offset: int) -> None:
        if not history:
            raise ValueError("the other episode holds no memory")
        self.history, self.next = history, offset

    def __call__(self, memory: MemoryState, obs: Observation) -> MemoryState:
        """The other episode's memory, as old now as it was there."""
        t, other = self.history[self.next % len(self.history)]
        self.next += 1
        swapped = other.shifted(obs.t - t)
        swapped.seed, swapped.step = memory.seed, memory.step
        swapped.running = memory.running  # what this arm is doing, not the other
        return swapped
