"""Looks at the machine that may crash or change the process; `python -m robomem.cli.probes NAME` prints JSON."""

import ctypes
import json
import os
import sys
from typing import Any

MCL_CURRENT = 1  # <sys/mman.h>
SPHERE = """<mujoco><worldbody><light pos="0 0 2"/><geom type="sphere" size=".3" rgba="1 .5 0 1"/>
<camera name="eye" pos="0 -1 0" xyaxes="1 0 0 0 0 1"/></worldbody></mujoco>"""


def egl() -> dict[str, Any]:
    """Render a sphere with MuJoCo through EGL: the number of distinct pixel values, and who draws."""
    os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = "egl"
    import mujoco
    from OpenGL import GL

    model = mujoco.MjModel.from_xml_string(SPHERE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 64, 64) as renderer:
        renderer.update_scene(data, "eye")
        values = set(renderer.render().ravel().tolist())
        return {"values": len(values), "renderer": GL.glGetString(GL.GL_RENDERER).decode()}


def gpu() -> dict[str, Any]:
    """What torch computes on: the name and memory [GiB] of each GPU, and the number of CPU threads."""
    import torch

    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    named = [f"{device.name}, {device.total_memory / 2**30:.0f} GiB" for device in devices]
    return {"devices": named, "threads": torch.get_num_threads(), "cuda": torch.version.cuda}


def realtime() -> dict[str, Any]:
    """Whether this user may have a real-time thread (SCHED_FIFO) and memory that is never paged out (mlockall)."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        fifo = ""
    except OSError as error:
        fifo = str(error.strerror)
    libc = ctypes.CDLL(None, use_errno=True)
    locked = "" if libc.mlockall(MCL_CURRENT) == 0 else os.strerror(ctypes.get_errno())
    return {"fifo_error": fifo, "mlockall_error": locked}


PROBES = {"egl": egl, "gpu": gpu, "realtime": realtime}

if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]]()))
