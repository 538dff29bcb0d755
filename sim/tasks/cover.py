"""An opaque cup, upside down, with a knob to lift it by."""

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from robomem.types import FloatArray

RADIUS = 0.045  # m
HEIGHT = 0.07  # m, without the knob
KNOB = 0.025  # m, its width
KNOB_HEIGHT = 0.04  # m
TOPPLED = np.cos(np.radians(30))  # of the angle between the cup's axis and the vertical
WALL = 0.034  # m, the inner walls from the axis: what is under the cup moves along when the cup is pushed
FOOT = 0.004  # m, radius of the four feet: spheres touch a table at one point each, which is cheap
GRASP_HEIGHT = HEIGHT + 0.02  # m, the tool above the table when it holds the knob
GAP = 0.002  # m, between shell and table: the cup stands on its feet

# contact bits: 1 is everything else (arm, table); what lies under a cup touches its inner walls but not its shell
SHELL, INSIDE = 4, 2


class Cover:
    """One cup of a task's scene, named `name`; a free body whose origin is where its axis meets the table."""

    def __init__(self, name: str) -> None:
        self.name = name

    def add_to(self, spec: mujoco.MjSpec, rgba: ArrayLike, knob_rgba: ArrayLike) -> None:
        """Add the cup to a scene; a geom with `INSIDE` in its conaffinity and contype 0 may lie under it."""
        body = spec.worldbody.add_body(name=self.name)
        body.add_freejoint(name=self.name)
        body.add_geom(
            name=f"{self.name}_shell",
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[RADIUS, (HEIGHT - GAP) / 2, 0],
            pos=[0, 0, (HEIGHT + GAP) / 2],
            contype=SHELL,
            conaffinity=1 | SHELL,
            mass=0.08,
            rgba=rgba,
        )
        body.add_geom(
            name=f"{self.name}_knob",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[KNOB / 2, KNOB / 2, KNOB_HEIGHT / 2],
            pos=[0, 0, HEIGHT + KNOB_HEIGHT / 2],
            mass=0.01,
            rgba=knob_rgba,
        )
        for side, (x, y) in enumerate(((1, 0), (0, 1), (-1, 0), (0, -1))):
            body.add_geom(
                name=f"{self.name}_foot{side}",
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[FOOT, 0, 0],
                pos=[(RADIUS - FOOT) * x, (RADIUS - FOOT) * y, FOOT],
                condim=3,
                mass=0.01,
                rgba=rgba,
            )
            body.add_geom(
                name=f"{self.name}_wall{side}",
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=[0.002 if x else 0.028, 0.002 if y else 0.028, 0.03],
                pos=[WALL * x, WALL * y, 0.035],
                contype=INSIDE,
                conaffinity=0,
                mass=0,
                rgba=rgba,
            )

    def bind(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Look up where the cup lives in the compiled scene."""
        joint, body = model.joint(self.name), model.body(self.name)
        self._qpos = data.qpos[joint.qposadr[0] :][:7]
        self._qvel = data.qvel[joint.dofadr[0] :][:6]
        self._xmat = data.xmat[body.id]
        self.body = body.id
        self.knob = model.geom(f"{self.name}_knob").id

    def put(self, pos: ArrayLike) -> None:
        """Upright and still at `pos` (3,) [m]."""
        self._qpos[:3] = pos
        self._qpos[3:] = 1, 0, 0, 0
        self._qvel[:] = 0

    @property
    def pos(self) -> FloatArray:
        """Where the axis meets the table, or would if the cup were down (3,) [m]."""
        return np.array(self._qpos[:3])

    def lifted(self) -> float:
        """Height above the table [m]."""
        return float(self._qpos[2])

    def is_toppled(self) -> bool:
        """True when the cup leans so far that it no longer stands."""
        return bool(self._xmat[8] < TOPPLED)
