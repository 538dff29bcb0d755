"""A spring-loaded push button that looks the same before and after a press."""

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from robomem.types import FloatArray

RADIUS = 0.035  # m
TRAVEL = 0.012  # m
TOP = 0.03  # m, the cap above the table when nobody presses
STIFFNESS = 500.0  # N/m, so a full press takes 6 N
DAMPING = 6.0  # N s/m, a little under critical (7.7): the cap comes back in 0.1 s and overshoots by 2 %
PRESSED, RELEASED = 0.5 * TRAVEL, 0.25 * TRAVEL  # m, two thresholds, so that a shaking finger is one press


class Button:
    """One button of a task's scene, named `name`; its place is chosen at reset."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._is_down = False

    def add_to(self, spec: mujoco.MjSpec, rgba: ArrayLike) -> None:
        """Add the button to a scene: a grey socket and a cap of colour `rgba` on a spring."""
        socket = spec.worldbody.add_body(name=self.name)
        socket.add_geom(
            name=f"{self.name}_socket",
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[RADIUS + 0.008, 0.005, 0],
            pos=[0, 0, 0.005],
            rgba=[0.3, 0.3, 0.32, 1],
        )
        cap = socket.add_body(name=f"{self.name}_cap", pos=[0, 0, TOP], gravcomp=1)
        cap.add_joint(
            name=self.name,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0, 0, -1],
            range=[0, TRAVEL],
            stiffness=STIFFNESS,
            damping=DAMPING,
        )
        cap.add_geom(
            name=f"{self.name}_cap",
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[RADIUS, 0.009, 0],
            pos=[0, 0, -0.009],
            mass=0.03,
            rgba=rgba,
        )
        spec.add_exclude(name=self.name, bodyname1=self.name, bodyname2=f"{self.name}_cap")

    def bind(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Look up where the button lives in the compiled scene."""
        self._model, self._data = model, data
        self._body = model.body(self.name).id
        self._cap = model.body(f"{self.name}_cap").id
        self._qpos = model.joint(self.name).qposadr[0]

    def place(self, xy: ArrayLike) -> None:
        """Put the button at `xy` (2,) [m] on the table, not pressed."""
        self._model.body_pos[self._body, :2] = xy
        self._is_down = False

    @property
    def top(self) -> FloatArray:
        """Middle of the cap's upper face (3,) [m] when nobody presses, in the base frame."""
        return np.array([*self._model.body_pos[self._body, :2], TOP])

    def presses(self) -> bool:
        """True once for every press: call it after every physics step."""
        depth = self._data.qpos[self._qpos]
        if self._is_down:
            self._is_down = bool(depth > RELEASED)
            return False
        self._is_down = bool(depth > PRESSED)
        return self._is_down
