"""Pictures of a MuJoCo scene without a display, by EGL."""

import atexit
import os
import weakref

import mujoco
import numpy as np

from robomem.errors import RenderError
from robomem.types import Image

# Mesa's software renderer: pictures are so small that handing tiles to other threads costs more than it saves.
os.environ.setdefault("LP_NUM_THREADS", "0")

SMALL_PX = 128  # px, up to here round things are drawn with few faces: nobody can see it and it is five times faster
COARSE, FINE = (
    (14, 6, 1),
    (28, 16, 4),
)  # slices, stacks, quads: MuJoCo's words for its tessellation; FINE is its default
INSTALL = "install an EGL library, e.g. 'apt-get install libegl1 libgl1-mesa-dri', or a GPU driver with EGL"


class Painter:
    """Draws `model` at one size, `width` x `height` [px].

    No shadows and no reflections: on a CPU they cost more than all the rest. Belongs to the thread that made it. Raises
    RenderError when this machine cannot draw.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        self._context = None
        try:
            from mujoco.egl import GLContext  # here, because importing it already needs the library

            self._context = GLContext(width, height)
        except (ImportError, AttributeError, RuntimeError) as error:
            raise RenderError(f"no picture can be rendered ({error}): {INSTALL}") from None
        atexit.register(_close, weakref.ref(self))  # before EGL itself is closed at exit
        self._context.make_current()
        self._width, self._height, self._model = width, height, model
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, height)
        fine = max(width, height) > SMALL_PX
        model.vis.quality.numslices, model.vis.quality.numstacks, model.vis.quality.numquads = FINE if fine else COARSE
        self._gl = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._gl)
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._option, self._perturb = mujoco.MjvOption(), mujoco.MjvPerturb()
        self._option.sitegroup[:] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def paint(self, data: mujoco.MjData, camera: str) -> Image:
        """A new picture (height, width, 3) from the camera of that name."""
        if self._context is None:
            raise RenderError("the painter is closed")
        self._context.make_current()
        self._camera.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model, data, self._option, self._perturb, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_render(self._viewport, self._scene, self._gl)
        upside_down = np.empty((self._height, self._width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(upside_down, None, self._viewport, self._gl)
        return np.ascontiguousarray(upside_down[::-1])

    def close(self) -> None:
        """Give the context back; allowed any number of times."""
        if self._context is not None:
            self._context.make_current()
            self._gl.free()
            self._context.free()
            self._context = None

    def __del__(self) -> None:
        self.close()


def _close(painter: "weakref.ref[Painter]") -> None:
    """Close `painter` if it still exists."""
    alive = painter()
    if alive is not None:
        alive.close()
