"""Push three coloured buttons in the order that was said. A pressed button looks as before: only memory can count."""

from collections.abc import Iterator
from typing import ClassVar

import mujoco
import numpy as np

from robomem.types import FloatArray
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
AWAY = (-1.0, 0.0, -1.0)  # m, where a button that is not used stays: out of sight, behind the table

RADIUS, BASE_RADIUS = 0.035, 0.044  # m
TOP, HALF_CAP, TRAVEL = 0.042, 0.012, 0.012  # m
PRESSED, RISEN = -TRAVEL / 2, -TRAVEL / 4  # m of travel: a press counts at the first, the next one after the second
FINGERTIP = 0.009  # m that the fingers reach beyond the tool site


class PushButtons(Task):
    """Entities: 0, 1, 2 are the first, second and third button to push. A wrong press or a second one fails."""

    name: ClassVar[str] = "push_buttons"
    max_s: ClassVar[float] = 15.0

    order: tuple[str, ...] = ()

    def build(self) -> mujoco.MjSpec:
        spec = arena()
        for colour, rgba in COLOURS.items():
            _add_button(spec, colour, rgba)
        return spec

    def bind(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        super().bind(model, data)
        self._travel = {colour: model.joint(colour).qposadr[0] for colour in COLOURS}

    def reset(self, rng: np.random.Generator) -> None:
        self.events.clear()
        self.order = tuple(str(colour) for colour in rng.permutation(list(COLOURS))[:N_BUTTONS])
        for colour in COLOURS:
            self.model.body(f"{colour}_base").pos = AWAY
        for colour, xy in zip(self.order, scatter(rng, N_BUTTONS, AREA_LOW, AREA_HIGH, APART), strict=True):
            self.model.body(f"{colour}_base").pos = (*xy, 0.0)
        self.instruction = TEMPLATES[rng.integers(len(TEMPLATES))].format(*self.order)
        self._down = dict.fromkeys(COLOURS, False)
        self.pressed: list[str] = []

    def step(self, t: float) -> None:
        for colour in self.order:
            travel = self.data.qpos[self._travel[colour]]
            if travel < PRESSED and not self._down[colour]:
                self._down[colour] = True
                self.pressed.append(colour)
                self.record(t, f"pressed {colour}")
            elif travel > RISEN:
                self._down[colour] = False

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

    def button_pos(self, colour: str) -> FloatArray:
        """Top of a button that is not pressed (3,) [m]."""
        return np.array([*self.model.body(f"{colour}_base").pos[:2], TOP])

    def entities(self) -> Entities:
        return Entities.of([(self.button_pos(colour), True) for colour in self.order])

    def plan(self, rng: np.random.Generator) -> Iterator[Waypoint]:
        rest, tip = np.zeros(3), np.array([0.0, 0.0, FINGERTIP])
        yield Waypoint("rest", rest, 0.0, dwell=rng.uniform(0.2, 0.5))
        while not (self.success() or self.failed()):
            n, top = len(self.pressed), self.button_pos(self.order[self.n_right()])
            above, below = top + tip + [0.0, 0.0, 0.025], top + tip - [0.0, 0.0, 0.03]

            def is_pressed(n: int = n) -> bool:
                return len(self.pressed) > n

            yield Waypoint("approach", above, 0.0, goal=top, speed=0.55)
            yield Waypoint("press", below, 0.0, goal=top, speed=0.2, until=is_pressed, patience=0.5)
            yield Waypoint("retreat", above, 0.0, goal=top, speed=0.35)
            yield Waypoint("rest", rest, 0.0, speed=0.55, dwell=rng.uniform(0.2, 0.5))


def _add_button(spec: mujoco.MjSpec, colour: str, rgba: tuple[float, ...]) -> None:
    """A housing with a cap that slides down by TRAVEL and springs back."""
    base = spec.worldbody.add_body(name=f"{colour}_base", pos=AWAY)
    base.add_geom(
        name=f"{colour}_base", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[BASE_RADIUS, 0.008, 0], pos=[0, 0, 0.008],
        rgba=[0.3, 0.3, 0.32, 1], contype=0, conaffinity=0,
    )  # fmt: skip
    cap = base.add_body(name=f"{colour}_cap", pos=[0, 0, TOP - HALF_CAP], gravcomp=1)
    # the spring presses the cap against its upper stop, so that it always comes back to the same place
    cap.add_joint(
        name=colour, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1], range=[-TRAVEL, 0], limited=True,
        stiffness=150, springref=0.01, damping=2, armature=0.02,
    )  # fmt: skip
    cap.add_geom(
        name=f"{colour}_cap", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[RADIUS, HALF_CAP, 0], rgba=rgba, mass=0.05
    )


def scatter(rng: np.random.Generator, n: int, low: FloatArray, high: FloatArray, apart: float) -> FloatArray:
    """`n` points (n, 2) [m] between `low` and `high`, each two at least `apart` [m] from each other."""
    while True:
        points = rng.uniform(low, high, (n, 2))
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)
        if (gaps[np.triu_indices(n, 1)] >= apart).all():
            return points
