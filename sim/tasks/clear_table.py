"""Clear the table and keep count: each object goes into the bin, then the counter is pressed once."""

from collections.abc import Iterator
from itertools import combinations

import mujoco
import numpy as np

from robomem.types import FloatArray
from sim.tasks.button import TRAVEL, Button
from sim.tasks.task import Entities, Task, arena
from sim.waypoints import Waypoint

INSTRUCTIONS = (
    "put the cubes into the bin and press the button once after each",
    "clear the table and count every cube with one press of the button",
    "move the cubes to the bin one at a time, pressing the button after each one",
)
COLOURS = ((0.9, 0.1, 0.1), (0.1, 0.65, 0.15), (0.1, 0.25, 0.9), (0.95, 0.5, 0), (0.85, 0.05, 0.6))
CUBE, CUBE_MASS = 0.02, 0.05  # m, half its edge; kg
N_CUBES = 3
CUBES_FROM, CUBES_TO = (0.38, -0.11), (0.58, 0.11)  # m, where cubes lie at first
APART = 0.11  # m, so that an open hand fits between two cubes
YAW = 0.25  # rad, at most
BIN, COUNTER, PLACE = (0.47, 0.27), (0.47, -0.26), 0.02  # m, places and how far each varies
BIN_INSIDE = (0.095, 0.055)  # m, half its inner length and width
BIN_WALL, BIN_HEIGHT = 0.005, 0.05  # m
SLOTS = (-0.055, 0.0, 0.055)  # m along x from the middle of the bin: where one cube after another is dropped
STORE = (0.1, 0.0, -0.6)  # m, a shelf under the table, out of sight: there waits a cube that does not take part
SETTLED_BELOW, SETTLED_SPEED = 0.09, 0.1  # m, m/s: a cube in the bin that lies there, if on another
LIFTED = 0.045  # m, the middle of a cube that no longer touches the table, on whatever edge
LOST = (0.2, 0.75, 0.42)  # m, x from and to, y on either side: beyond, no hand gets a cube back
SPEED, GRIP_S = 0.55, 0.35  # m/s; s, the hand takes to open or close
REST_S = (0.45, 0.55)  # s, long enough that the arm is still: what it did last does not show
ABOVE = 0.08  # m, above a cube, where the last of an approach begins
PRESS_FROM, BELOW = 0.03, TRAVEL + 0.002  # m from the top of the counter: where a press begins, how deep it aims
PRESS_S = 0.4  # s, a press is held: who looks now and then has seen it
DROP = 0.11  # m, the tool above the table when it lets go over the bin
FINGERTIP = 0.009  # m, from the tool frame to the end of the fingers
UP = np.array([0.0, 0.0, 1.0])
HELD = 0.3  # share of glances that show a cube in the hand


class ClearTable(Task):
    """Two or three cubes, a bin, and a counter that shows nothing.

    A press too many, a press before there is something to count, or the next cube lifted before the press is a mistake.
    """

    name = "clear_table"
    max_s = 45.0

    def __init__(self) -> None:
        super().__init__()
        self._counter = Button("counter")

    def build(self) -> mujoco.MjSpec:
        spec = arena()
        _add_bin(spec)
        self._counter.add_to(spec, rgba=(0.95, 0.85, 0.1, 1))
        for i in range(N_CUBES):
            body = spec.worldbody.add_body(name=f"cube{i}", pos=(*STORE[:2], STORE[2] + CUBE))
            body.add_freejoint(name=f"cube{i}")
            box = {"type": mujoco.mjtGeom.mjGEOM_BOX, "size": [CUBE, CUBE, CUBE]}
            body.add_geom(name=f"cube{i}", mass=CUBE_MASS, rgba=(0, 0, 0, 1), **box)
        spec.worldbody.add_geom(
            name="shelf", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.1, 0.1, 0.01], pos=(*STORE[:2], STORE[2] - 0.01)
        )
        return spec

    def bind(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        super().bind(model, data)
        self._counter.bind(model, data)
        joints = [model.joint(f"cube{i}") for i in range(N_CUBES)]
        self._qpos = [data.qpos[joint.qposadr[0] :][:7] for joint in joints]
        self._qvel = [data.qvel[joint.dofadr[0] :][:6] for joint in joints]
        self._cube_bodies = [model.body(f"cube{i}").id for i in range(N_CUBES)]
        self._fingers = [model.body(name).id for name in ("finger_left", "finger_right")]
        self._bin = model.body("bin").id

    def reset(self, rng: np.random.Generator) -> None:
        self.events.clear()
        self.instruction = INSTRUCTIONS[rng.integers(len(INSTRUCTIONS))]
        self._n = int(rng.integers(2, N_CUBES + 1))
        self._placed: list[int] = []
        self._presses = 0
        self._failed = False
        self._bin_xy = BIN + rng.uniform(-PLACE, PLACE, 2)
        self.model.body_pos[self._bin, :2] = self._bin_xy
        self._counter.place(COUNTER + rng.uniform(-PLACE, PLACE, 2))
        self._colours = sorted(rng.permutation(len(COLOURS))[: self._n].tolist())
        for i, xy in enumerate(_scatter(rng, self._n)):
            yaw = rng.uniform(-YAW, YAW)
            self._qpos[i][:] = *xy, CUBE, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)
            self.model.geom(f"cube{i}").rgba[:3] = COLOURS[self._colours[i]]

    def step(self, t: float) -> None:
        presses = self._counter.presses()
        if self._failed or self.success():
            return
        if presses and not self._uncounted():
            self._fail(t, "pressed the counter with nothing to count")
        elif presses:
            self._presses += 1
            self.record(t, f"counted {self._presses}")
        for i in range(self._n):
            self._judge_cube(t, i)

    def score(self) -> float:
        return (len(self._placed) + self._presses) / (2 * self._n)

    def success(self) -> bool:
        return not self._failed and self._presses == self._n

    def failed(self) -> bool:
        return self._failed

    def entities(self) -> Entities:
        """A slot for the cube of each of COLOURS, in the bin or not; then the bin, then the counter."""
        cubes: list[tuple[FloatArray, bool]] = [(np.zeros(3), False)] * len(COLOURS)
        for i, colour in enumerate(self._colours):
            cubes[colour] = (self._cube(i), True)
        return Entities.of([*cubes, (np.array([*self._bin_xy, 0.0]), True), (self._counter.top, True)])

    def named(self) -> dict[str, FloatArray]:
        places = {"bin": np.array([*self._bin_xy, 0.0]), "button": self._counter.top, "press": self._counter.top}
        left = self._left()
        return places | dict.fromkeys(("cube", "cubes"), self._cube(left[0])) if left else places

    def plan(self, rng: np.random.Generator) -> Iterator[Waypoint]:
        rest = self.data.site("tool").xpos.copy()
        while not (self._failed or self.success()):
            yield Waypoint("rest", rest, gripper=0, goal=self._next, speed=SPEED, dwell=rng.uniform(*REST_S))
            if self._uncounted():
                yield from self._press()
            else:
                yield from self._pick_and_place(self._left()[0])

    def glance(self, rng: np.random.Generator) -> None:
        self.reset(rng)
        for _ in range(rng.integers(self._n + 1)):
            i = self._left()[0]
            x, y = self._bin_xy
            across = rng.uniform(-1, 1) * (BIN_INSIDE[1] - CUBE)
            self._qpos[i][:3] = x + SLOTS[len(self._placed)], y + across, BIN_WALL + CUBE
            self._placed.append(i)

    def hold(self, tool_pos: FloatArray, rng: np.random.Generator) -> None:
        if len(self._placed) < self._n and rng.random() < HELD:
            self._qpos[self._left()[0]][:3] = tool_pos

    def _press(self) -> Iterator[Waypoint]:
        goal, before = self._counter.top, self._presses
        above, down = goal + (FINGERTIP + PRESS_FROM) * UP, goal + (FINGERTIP - BELOW) * UP

        def is_pressed() -> bool:
            return self._presses > before

        yield Waypoint("approach", above, gripper=0, goal=goal, speed=SPEED)
        yield Waypoint("press", down, gripper=0, goal=goal, speed=0.2, dwell=PRESS_S, until=is_pressed, patience=0.3)
        yield Waypoint("retreat", above, gripper=0, goal=goal)

    def _pick_and_place(self, i: int) -> Iterator[Waypoint]:
        cube = self._cube(i)
        above = cube + ABOVE * UP
        yield Waypoint("approach", above, gripper=1, goal=cube, speed=SPEED)
        yield Waypoint("grasp", cube, gripper=0, goal=cube, speed=0.3, dwell=GRIP_S)
        yield Waypoint("lift", above, gripper=0, goal=cube, speed=0.3)
        if self._cube(i)[2] < LIFTED:
            return
        drop, goal = np.array([*self._free_slot(), DROP]), np.array([*self._bin_xy, 0.0])
        over = drop + 0.02 * UP
        yield Waypoint("carry", over, gripper=0, goal=goal, speed=SPEED)
        yield Waypoint("release", drop, gripper=1, goal=goal, dwell=GRIP_S)
        yield Waypoint("retreat", over, gripper=1, goal=goal)

    def _next(self) -> FloatArray:
        """What comes after a rest: the counter when there is something to count, else a cube."""
        left = self._left()
        return self._counter.top if self._uncounted() or not left else self._cube(left[0])

    def _uncounted(self) -> int:
        """How many cubes are in the bin that no press has counted."""
        return len(self._placed) - self._presses

    def _cube(self, i: int) -> FloatArray:
        """Middle of cube `i` (3,) [m]."""
        return np.array(self._qpos[i][:3])

    def _left(self) -> list[int]:
        """Cubes that are not in the bin, in the order of COLOURS: which is next can be seen, near call or not."""
        return [i for i in range(self._n) if i not in self._placed]

    def _free_slot(self) -> FloatArray:
        """The first place in the bin (2,) [m] with no cube below, else its middle."""
        for along in SLOTS:
            slot: FloatArray = self._bin_xy + np.array([along, 0.0])
            if all(np.linalg.norm(self._qpos[i][:2] - slot) > 2 * CUBE for i in self._placed):
                return slot
        return self._bin_xy

    def _judge_cube(self, t: float, i: int) -> None:
        x, y, z = self._qpos[i][:3].tolist()
        in_bin = abs(x - self._bin_xy[0]) < BIN_INSIDE[0] and abs(y - self._bin_xy[1]) < BIN_INSIDE[1]
        if i in self._placed:
            if not in_bin:
                self._fail(t, "took a cube out of the bin")
        elif in_bin and z < SETTLED_BELOW and np.abs(self._qvel[i][:3]).max() < SETTLED_SPEED and not self._is_held(i):
            self._placed.append(i)
            self.record(t, f"placed {len(self._placed)}")
        elif z > LIFTED and self._uncounted():
            self._fail(t, "lifted a cube before the last one was counted")
        elif not (LOST[0] < x < LOST[1] and abs(y) < LOST[2] and z > 0):
            self._fail(t, "lost a cube")

    def _is_held(self, i: int) -> bool:
        """True while a finger touches cube `i`."""
        bodies = self.model.geom_bodyid[self.data.contact.geom]
        touching = bodies[(bodies == self._cube_bodies[i]).any(axis=1)]
        return bool(np.isin(touching, self._fingers).any())

    def _fail(self, t: float, what: str) -> None:
        if not self._failed:
            self._failed = True
            self.record(t, what)


def _add_bin(spec: mujoco.MjSpec) -> None:
    """An open box on the table, its long side along x."""
    length, width = BIN_INSIDE
    body = spec.worldbody.add_body(name="bin")
    walls = {
        "floor": ((0, 0, BIN_WALL / 2), (length, width, BIN_WALL / 2)),
        "near": ((-length - BIN_WALL, 0, BIN_HEIGHT / 2), (BIN_WALL, width + 2 * BIN_WALL, BIN_HEIGHT / 2)),
        "far": ((length + BIN_WALL, 0, BIN_HEIGHT / 2), (BIN_WALL, width + 2 * BIN_WALL, BIN_HEIGHT / 2)),
        "right": ((0, -width - BIN_WALL, BIN_HEIGHT / 2), (length, BIN_WALL, BIN_HEIGHT / 2)),
        "left": ((0, width + BIN_WALL, BIN_HEIGHT / 2), (length, BIN_WALL, BIN_HEIGHT / 2)),
    }
    for name, (pos, size) in walls.items():
        body.add_geom(name=f"bin_{name}", type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, size=size, rgba=(0.2, 0.42, 0.45, 1))


def _scatter(rng: np.random.Generator, n: int) -> FloatArray:
    """Places (n, 2) [m] on the table, all pairs APART."""
    while True:
        places = rng.uniform(CUBES_FROM, CUBES_TO, (n, 2))
        if all(np.linalg.norm(a - b) >= APART for a, b in combinations(places, 2)):
            return places
