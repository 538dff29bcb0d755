"""What every task is: a scene, chance that is drawn once, and a judge of what happens."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import mujoco
import numpy as np

from robomem.types import FloatArray
from sim.waypoints import Waypoint

N_ENTITIES = 8
SIM = Path(__file__).parent.parent


@dataclass(frozen=True, eq=False)
class Entities:
    """True positions `pos` (8, 3) [m] in the base frame and which of them can be seen, `visible` (8,) bool.

    A slot means the same thing in every episode of a task; a slot without a thing is at zero and not visible.
    """

    pos: FloatArray
    visible: np.ndarray[tuple[int], np.dtype[np.bool_]]

    @classmethod
    def of(cls, things: list[tuple[FloatArray, bool]]) -> "Entities":
        """The first slots are `things`, (position, visible) each; the rest is empty."""
        pos, visible = np.zeros((N_ENTITIES, 3)), np.zeros(N_ENTITIES, dtype=bool)
        for slot, (where, seen) in enumerate(things):
            pos[slot], visible[slot] = where, seen
        return cls(pos, visible)


@dataclass(frozen=True)
class TaskEvent:
    """`what` happened at `t` [s], such as "pressed red"."""

    t: float
    what: str


class Task(ABC):
    """One task over one MuJoCo model.

    Order of calls: `build` once, `bind` once, then for each episode `reset`, and `step` after every physics step.
    """

    name: ClassVar[str]
    max_s: ClassVar[float]  # s, an episode is cut here
    chance: ClassVar[float | None] = None  # success rate of who guesses, where there is something to guess

    instruction: str
    model: mujoco.MjModel
    data: mujoco.MjData

    def __init__(self) -> None:
        self.instruction = ""
        self.events: list[TaskEvent] = []

    @abstractmethod
    def build(self) -> mujoco.MjSpec:
        """The scene: `arena()` with the task's things added, each of them named."""

    def bind(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Take up the compiled scene; a task that looks up addresses does it here, after `super().bind`."""
        self.model, self.data = model, data

    @abstractmethod
    def reset(self, rng: np.random.Generator) -> None:
        """Place everything and choose the instruction: the only chance in an episode.

        `data` is fresh, the arm is at rest; the caller runs `mj_forward` afterwards. Clears `events`.
        """

    @abstractmethod
    def step(self, t: float) -> None:
        """Scripted motion and book-keeping at `t` [s] since reset, after every physics step: keep it cheap."""

    @abstractmethod
    def score(self) -> float:
        """Partial credit, 0 to 1."""

    @abstractmethod
    def success(self) -> bool:
        """True when the task is done."""

    @abstractmethod
    def failed(self) -> bool:
        """True after a mistake that cannot be mended: the episode ends."""

    @abstractmethod
    def entities(self) -> Entities:
        """Where things truly are: supervision for an encoder, never an input of a policy."""

    @abstractmethod
    def named(self) -> dict[str, FloatArray]:
        """Where what a word of the instruction names is, word -> (3,) [m], if it can be seen: supervision too."""

    @abstractmethod
    def plan(self, rng: np.random.Generator) -> Iterator[Waypoint]:
        """The demonstrator's way: waypoints from the true state, read anew at every waypoint so that it recovers.

        `rng` varies its style, never the task.
        """

    def glance(self, rng: np.random.Generator) -> None:
        """Instead of `reset`: any state that an episode could show, to learn to see from. Here, the first state."""
        self.reset(rng)

    def hold(self, tool_pos: FloatArray, rng: np.random.Generator) -> None:  # noqa: B027  most tasks hold nothing
        """After `glance`: perhaps put into the hand at `tool_pos` (3,) [m] what it could hold. Here, nothing."""

    def record(self, t: float, what: str) -> None:
        """Append to `events`."""
        self.events.append(TaskEvent(t, what))


def arena() -> mujoco.MjSpec:
    """A Panda at the edge of an empty table; its base frame is the world frame."""
    spec = mujoco.MjSpec.from_file(str(SIM / "scenes" / "table.xml"))
    panda = mujoco.MjSpec.from_file(str(SIM / "arms" / "panda" / "panda.xml"))
    spec.attach(panda, site=spec.site("arm_base"), prefix="")
    return spec
