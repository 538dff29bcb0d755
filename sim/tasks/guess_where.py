"""Guess where: a block is covered in sight of the arm, covers may change places, and after a wait it is to be found."""

from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np

from robomem.types import FloatArray
from sim.tasks.cover import GRASP_HEIGHT, INSIDE, KNOB, Cover
from sim.tasks.task import Entities, Task, arena
from sim.waypoints import Waypoint

INSTRUCTIONS = (
    "when the light is green, lift the cover that hides the block",
    "wait for the green light, then uncover the block",
    "remember where the block is and lift its cover once the light is green",
)
CENTRE = np.array([0.46, 0.0])  # m, of the row of covers
SPACING = 0.16  # m, between covers: an open hand fits between two knobs, and two outer covers pass the middle one
SPREAD, JITTER = (0.03, 0.02), 0.015  # m, of the whole row and of each cover
BLOCK = 0.021  # m, half its edge
LAMP, LAMP_RADIUS, LAMP_HEIGHT = (0.6, -0.27), 0.03, 0.02  # m
RED, GREEN = (0.85, 0.05, 0.05, 1), (0.05, 0.85, 0.15, 1)
SHOWN_AT = 0.13  # m, the height at which the cover waits while the block is shown
LOWER_S, SWAP_S = 0.8, 2.0  # s
UNCOVERED = 0.05  # m, the right cover lifted this far is success
WRONG = 0.015  # m, another cover lifted this far is failure
OPAQUE = 0.04  # m, a cover lifted this far no longer hides the block from the front
OPEN = 0.8 * KNOB  # m between the fingers: they hold the knob, and do not push it from one side
REACTION_S = (0.15, 0.25)  # s, between the light and the demonstrator's first move
SPEED, GRIP_S = 0.55, 0.35  # m/s; s, the hand takes to open or close
ABOVE = 0.07  # m, from the grasp to where it is approached from, and to where the cover is lifted
UP = np.array([0.0, 0.0, 1.0])
HELD = 0.2  # share of glances that show a cover in the hand


@dataclass(frozen=True, eq=False)
class _Script:
    """How the covers move before the light turns green: `pair` are the two that change places, () for none."""

    start: FloatArray  # (3, 2), m, the covers on the table
    pair: tuple[int, ...]
    turn: float  # rad, half a turn one way or the other
    lower_at: float  # s
    swap_at: float  # s
    green_at: float  # s

    def positions(self, t: float, hidden: int) -> FloatArray:
        """Covers (3, 3) [m] at `t` [s]; cover `hidden` is the one that comes down."""
        pos = np.zeros((len(self.start), 3))
        pos[:, :2] = self.start
        pos[hidden, 2] = SHOWN_AT * (1 - _smooth((t - self.lower_at) / LOWER_S))
        if self.pair:
            angle = self.turn * _smooth((t - self.swap_at) / SWAP_S)
            turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            middle = self.start[list(self.pair)].mean(axis=0)
            for i in self.pair:
                pos[i, :2] = middle + turned @ (self.start[i] - middle)
        return pos


class GuessWhere(Task):
    """Three covers, one block, one lamp. Until the lamp is green the scene plays by itself and must not be touched."""

    name = "guess_where"
    max_s = 15.0
    chance = 1 / 3

    def __init__(self) -> None:
        super().__init__()
        self._covers = [Cover(f"cover{i}") for i in range(3)]

    def build(self) -> mujoco.MjSpec:
        spec = arena()
        for cover in self._covers:
            cover.add_to(spec, rgba=(0.13, 0.3, 0.72, 1), knob_rgba=(1, 0.8, 0, 1))
        block = spec.worldbody.add_body(name="block")
        block.add_freejoint(name="block")
        block.add_geom(
            name="block",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[BLOCK, BLOCK, BLOCK],
            contype=0,
            conaffinity=1 | INSIDE,
            mass=0.03,
            rgba=(0.9, 0, 0.55, 1),
        )
        spec.worldbody.add_geom(
            name="lamp",
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[LAMP_RADIUS, LAMP_HEIGHT / 2, 0],
            pos=[*LAMP, LAMP_HEIGHT / 2],
            rgba=RED,
        )
        return spec

    def bind(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        super().bind(model, data)
        for cover in self._covers:
            cover.bind(model, data)
        block = model.joint("block")
        self._block_qpos, self._block_qvel = data.qpos[block.qposadr[0] :][:7], data.qvel[block.dofadr[0] :][:6]
        self._lamp_rgba = model.geom_rgba[model.geom("lamp").id]
        self._fingers = [model.body(name).id for name in ("finger_left", "finger_right")]
        opening = model.tendon("opening").id
        self._opening = data.ten_length[opening : opening + 1]
        self._is_arm = np.isin(model.geom_bodyid, [model.body("hand").id, *self._fingers])

    def reset(self, rng: np.random.Generator) -> None:
        self.events.clear()
        self.instruction = INSTRUCTIONS[rng.integers(len(INSTRUCTIONS))]
        start = CENTRE + rng.uniform(-1, 1, 2) * SPREAD + rng.uniform(-JITTER, JITTER, (3, 2))
        start[:, 1] += (-SPACING, 0, SPACING)
        lower_at, wait_s = rng.uniform(1.0, 1.5), rng.uniform(1.0, 3.0)
        swap_at = lower_at + LOWER_S + 0.2
        pair, swaps = ((0, 1), (1, 2), (0, 2))[rng.integers(3)], rng.random() < 0.5
        still_at = swap_at + SWAP_S if swaps else lower_at + LOWER_S
        turn = np.pi * rng.choice((-1, 1))
        self._script = _Script(start, pair if swaps else (), turn, lower_at, swap_at, still_at + wait_s)
        self._lamp_rgba[:] = RED
        self._is_green = self._failed = self._success = False
        self._closed_on: int | None = None
        self.hide_under(int(rng.integers(3)))

    def hide_under(self, cover: int) -> None:
        """Choose the cover, 0 to 2 along y, that hides the block; allowed until the arm or the physics moves."""
        self._hidden = cover
        self._play(0.0)

    def step(self, t: float) -> None:
        if self._failed or self._success:
            return
        if not self._is_green:
            self._play(t)
            if t >= self._script.green_at:
                self._is_green = True
                self._lamp_rgba[:] = GREEN
                self.record(t, "green")
        self._judge_touch(t)
        if self._is_green:
            self._judge_lift(t)

    def score(self) -> float:
        if self._success:
            return 1.0
        return 0.5 if self._closed_on == self._hidden else 0.0

    def success(self) -> bool:
        return self._success

    def failed(self) -> bool:
        return self._failed

    def entities(self) -> Entities:
        """Block (seen while uncovered), the covers along y, the lamp (seen while green)."""
        in_sight = self._covers[self._hidden].lifted() > OPAQUE
        along_y = sorted((cover.pos for cover in self._covers), key=lambda pos: float(pos[1]))
        lamp = np.array([*LAMP, LAMP_HEIGHT])
        things = [(self._block_qpos[:3].copy(), in_sight), *((pos, True) for pos in along_y), (lamp, self._is_green)]
        return Entities.of(things)

    def named(self) -> dict[str, FloatArray]:
        places = {"light": np.array([*LAMP, LAMP_HEIGHT])}
        if self._covers[self._hidden].lifted() > OPAQUE:
            places["block"] = self._block_qpos[:3].copy()
        return places

    def plan(self, rng: np.random.Generator) -> Iterator[Waypoint]:
        rest = self.data.site("tool").xpos.copy()
        go_at = self._script.green_at + rng.uniform(*REACTION_S)

        def hiding() -> FloatArray:
            return self._covers[self._hidden].pos

        def may_go() -> bool:
            return bool(self.data.time >= go_at)

        yield Waypoint("wait", rest, gripper=0, goal=hiding, until=may_go, patience=self.max_s)
        while not (self._success or self._failed):
            goal = self._covers[self._hidden].pos
            knob = goal + GRASP_HEIGHT * UP
            above = knob + ABOVE * UP
            yield Waypoint("approach", above, gripper=1, goal=goal, speed=SPEED)
            yield Waypoint("grasp", knob, gripper=0, goal=goal, speed=0.3, dwell=GRIP_S)
            yield Waypoint("lift", above, gripper=0, goal=goal)
            yield Waypoint("release", above, gripper=1, goal=goal, dwell=GRIP_S)  # not there yet: it slipped

    def glance(self, rng: np.random.Generator) -> None:
        self.reset(rng)
        self.step(rng.uniform(0, self._script.green_at + SWAP_S))

    def hold(self, tool_pos: FloatArray, rng: np.random.Generator) -> None:
        if self._is_green and rng.random() < HELD:
            self._covers[rng.integers(3)].put(tool_pos - GRASP_HEIGHT * UP)

    def _play(self, t: float) -> None:
        """Put covers and block where the script has them at `t`."""
        positions = self._script.positions(t, self._hidden)
        for cover, pos in zip(self._covers, positions, strict=True):
            cover.put(pos)
        self._block_qpos[:] = *positions[self._hidden, :2], BLOCK, 1, 0, 0, 0
        self._block_qvel[:] = 0

    def _judge_touch(self, t: float) -> None:
        """A cover that the hand touches before the light is a mistake; the first knob in its grip is remembered."""
        geoms = self.data.contact.geom
        by_arm = self._is_arm[geoms].any(axis=1)
        if not by_arm.any():
            return
        touched = geoms[by_arm]
        bodies = self.model.geom_bodyid[touched]
        is_open = self._opening[0] > OPEN
        for i, cover in enumerate(self._covers):
            if not self._is_green and (bodies == cover.body).any():
                self._fail(t, f"touched cover {i} before the light was green")
            elif self._closed_on is None and is_open:
                on_knob = bodies[(touched == cover.knob).any(axis=1)]
                if all((on_knob == finger).any() for finger in self._fingers):
                    self._closed_on = i
                    self.record(t, f"closed on cover {i}")

    def _judge_lift(self, t: float) -> None:
        for i, cover in enumerate(self._covers):
            if cover.is_toppled():
                self._fail(t, f"toppled cover {i}")
            elif i != self._hidden and cover.lifted() > WRONG:
                self._fail(t, f"lifted cover {i}, which hides nothing")
            elif i == self._hidden and cover.lifted() > UNCOVERED:
                self._success = True
                self.record(t, "uncovered the block")

    def _fail(self, t: float, what: str) -> None:
        if not self._failed:
            self._failed = True
            self.record(t, what)


def _smooth(share: float) -> float:
    """0 before 0, 1 after 1, smooth between."""
    s = min(max(share, 0.0), 1.0)
    return s * s * (3 - 2 * s)
