"""Push three coloured buttons in the order that was said. A pressed button looks as before: only memory can count."""

from collections.abc import Iterator
from typing import ClassVar

import mujoco
import numpy as np

from robomem.types import FloatArray
from sim.tasks.button import TRAVEL, Button
from sim.tasks.task import Entities, Task, arena
from sim.waypoints import Waypoint

COLOURS = {
    "red": (0.9, 0.08, 0.08, 1.0),
    "green": (0.08, 0.72, 0.18, 1.0),
    "blue": (0.08, 0.25, 0.95, 1.0),
    "yellow": (1.0, 0.86, 0.05, 1.0),
}
TEMPLATES = (
    "push the {} button, then the {} button, then the {} button",
    "press the {} button, then the {} one, then the {} one",
    "first push {}, then {}, finally {}",
    "press the buttons in order: {}, {}, {}",
)
N_BUTTONS = 3
AREA_LOW, AREA_HIGH = np.array([0.37, -0.23]), np.array([0.61, 0.23])  # m
APART = 0.13  # m, between centres
AWAY = (-1.0, 0.0)  # m, where a button that is not used stays: behind the arm, out of sight of both cameras
UP = np.array([0.0, 0.0, 1.0])
FINGERTIP = 0.009  # m that the fingers reach beyond the tool frame
ABOVE, BELOW = 0.03, TRAVEL + 0.002  # m from the top of a button: where a press begins, and how deep it aims
PRESS_S = 0.4  # s, a press is held: who looks now and then has seen it
REST_S = (0.3, 0.4)  # s


class PushButtons(Task):
    """Entities: 0, 1, 2 are the first, second and third button to push. A wrong press or a second one fails."""

    name: ClassVar[str] = "push_buttons"
    max_s: ClassVar[float] = 15.0

    order: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._buttons = {colour: Button(colour) for colour in COLOURS}

    def build(self) -> mujoco.MjSpec:
        spec = arena()
        for colour, button in self._buttons.items():
            button.add_to(spec, COLOURS[colour])
        return spec

    def bind(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        super().bind(model, data)
        for button in self._buttons.values():
            button.bind(model, data)

    def reset(self, rng: np.random.Generator) -> None:
        self.events.clear()
        self.pressed: list[str] = []
        self.order = tuple(str(colour) for colour in rng.permutation(list(COLOURS))[:N_BUTTONS])
        self.instruction = TEMPLATES[rng.integers(len(TEMPLATES))].format(*self.order)
        for button in self._buttons.values():
            button.place(AWAY)
        for colour, xy in zip(self.order, _scatter(rng), strict=True):
            self._buttons[colour].place(xy)

    def step(self, t: float) -> None:
        for colour in self.order:
            if self._buttons[colour].presses():
                self.pressed.append(colour)
                self.record(t, f"pressed {colour}")

    def n_right(self) -> int:
        """Right presses before the first wrong one."""
        pairs = zip(self.pressed, self.order, strict=False)
        return next((i for i, (had, want) in enumerate(pairs) if had != want), min(len(self.pressed), N_BUTTONS))

    def score(self) -> float:
        return self.n_right() / N_BUTTONS

    def success(self) -> bool:
        return self.pressed == list(self.order)

    def failed(self) -> bool:
        return len(self.pressed) > self.n_right()

    def entities(self) -> Entities:
        return Entities.of([(np.array(self._buttons[colour].top), True) for colour in self.order])

    def named(self) -> dict[str, FloatArray]:
        return {colour: np.array(self._buttons[colour].top) for colour in self.order}

    def plan(self, rng: np.random.Generator) -> Iterator[Waypoint]:
        rest = np.zeros(3)
        yield Waypoint("rest", rest, 0.0, goal=self._buttons[self.order[0]].top, dwell=rng.uniform(*REST_S))
        while not (self.success() or self.failed()):
            n = len(self.pressed)
            top = np.array(self._buttons[self.order[n]].top)
            above, below = top + (FINGERTIP + ABOVE) * UP, top + (FINGERTIP - BELOW) * UP

            def is_pressed(n: int = n) -> bool:
                return len(self.pressed) > n

            yield Waypoint("approach", above, 0.0, goal=top, speed=0.55)
            yield Waypoint("press", below, 0.0, goal=top, speed=0.2, dwell=PRESS_S, until=is_pressed, patience=0.3)
            yield Waypoint("retreat", above, 0.0, goal=top, speed=0.35)
            n = len(self.pressed)
            then = self._buttons[self.order[n]].top if n < N_BUTTONS else None
            yield Waypoint("rest", rest, 0.0, goal=then, speed=0.55, dwell=rng.uniform(*REST_S))


def _scatter(rng: np.random.Generator) -> FloatArray:
    """Places on the table (N_BUTTONS, 2) [m], all pairs APART."""
    while True:
        places = rng.uniform(AREA_LOW, AREA_HIGH, (N_BUTTONS, 2))
        gaps = np.linalg.norm(places[:, None] - places, axis=-1)
        if (gaps[np.triu_indices(N_BUTTONS, 1)] >= APART).all():
            return places
