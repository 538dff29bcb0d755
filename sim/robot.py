"""The simulated arm: a Robot and a Clock over one MuJoCo model."""

import mujoco
import numpy as np

from robomem.control.cameras import Camera
from robomem.control.limits import JointLimits, limit_command
from robomem.errors import PhysicsError, UnknownName
from robomem.types import FloatArray, Image, JointCommand, Observation
from sim.render import Painter
from sim.tasks.task import Task

ARM_JOINTS = tuple(f"joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("finger_left", "finger_right")
GRIPPER_OPENING = 0.08  # m, Franka Hand data sheet
LEVEL = (1.0, 1.0, 0.5)  # share of a push along each axis: less up and down, where things are touched
PUSH_S, PAUSE_S = (0.5, 1.0), (0.2, 1.5)  # s, how long a push lasts, and how long until the next
WARNINGS = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


class SimRobot:
    """A Panda at `task`: sleeping steps the physics, so time passes only in `sleep_until`.

    Commands come at `hz`, pictures at `camera_hz` (between, the last ones are seen again), both whole numbers of what
    is below them; pictures are `image_size` px square from `cameras`, none when that is empty. `disturbance` [m] pushes
    what was sent smoothly aside, now and then, one standard deviation along the table at the height of a push, so that
    demonstrations visit states beside their way while what was sent leads on from there (DART, Laskey 2017).
    `exposure` is how much of a push reaches the arm. Belongs to the thread that made it.
    """

    def __init__(
        self,
        task: Task,
        hz: float = 20.0,
        camera_hz: float = 10.0,
        image_size: int = 64,
        disturbance: float = 0.0,
        cameras: tuple[str, ...] = ("front", "wrist"),
    ) -> None:
        self.task, self.hz, self.camera_hz = task, hz, camera_hz
        self.image_size, self.disturbance, self.cameras = image_size, disturbance, cameras
        self.model = task.build().compile()
        self.data = mujoco.MjData(self.model)
        self._check_cameras(cameras)
        self._dt = self.model.opt.timestep
        self._tick_steps = _whole(1 / (hz * self._dt), f"a tick of 1/{hz:g} s", f"steps of {self._dt:g} s")
        self._picture_ticks = _whole(hz / camera_hz, f"a picture of 1/{camera_hz:g} s", f"ticks of 1/{hz:g} s")
        arm = [self.model.joint(name) for name in ARM_JOINTS]
        self._qpos = np.array([joint.qposadr[0] for joint in arm])
        self._dofs = np.array([joint.dofadr[0] for joint in arm])
        self._fingers = np.array([self.model.joint(name).qposadr[0] for name in FINGER_JOINTS])
        self._ctrl = np.array([self.model.actuator(name).id for name in ARM_JOINTS])
        self._grip_ctrl = self.model.actuator("gripper").id
        self._grip_tendon = self.model.tendon("opening").id
        self._tool = self.model.site("tool").id
        lower, upper = np.array([joint.range for joint in arm]).T
        self.limits = JointLimits(lower, upper, self.model.numeric("max_joint_vel").data)
        task.bind(self.model, self.data)
        self._painters: dict[tuple[int, int], Painter] = {}
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin an episode; its time starts at 0. Equal seeds give equal episodes, to the byte."""
        mujoco.mj_resetData(self.model, self.data)
        rest = self.model.key("rest")
        n = len(ARM_JOINTS) + 2  # the arm was attached first: its joints lead
        self.data.qpos[:n], self.data.ctrl[:] = rest.qpos[:n], rest.ctrl
        self._steps = 0
        self._pictures: dict[str, Image] = {}
        self._pictures_due = 0
        self.exposure = 1.0
        self._push_start, self._push_s = 0.0, 0.0
        self._push: FloatArray = np.zeros(3)
        self._chance = np.random.Generator(np.random.PCG64((seed, 1)))
        self.task.reset(np.random.Generator(np.random.PCG64(seed)))
        mujoco.mj_forward(self.model, self.data)
        self._last = self._measured()
        self._ramp_from = self._ramp_to = self.data.ctrl.copy()
        self._ramp_start = 0

    def pose(self, joint_pos: FloatArray, gripper: float) -> None:
        """Put the arm at `joint_pos` (7,) [rad] and the gripper at 0 to 1 at once, to be looked at: no time passes."""
        self.data.qpos[self._qpos] = joint_pos
        self.data.qpos[self._fingers] = gripper * GRIPPER_OPENING / 2
        self._pictures_due = self._steps
        mujoco.mj_forward(self.model, self.data)

    @property
    def rest_joint_pos(self) -> FloatArray:
        """Where the arm rests (7,) [rad]."""
        return np.array(self.model.key("rest").qpos[: len(ARM_JOINTS)], dtype=np.float64)

    def observe(self) -> Observation:
        """What the robot sees and feels now; the pictures are new at the camera's own rate."""
        if self._steps >= self._pictures_due and self.cameras:
            self._pictures = {name: self.picture(name, self.image_size, self.image_size) for name in self.cameras}
            self._pictures_due = self._steps + self._picture_ticks * self._tick_steps
        return Observation(
            t=self.now(),
            images=self._pictures,
            joint_pos=self.data.qpos[self._qpos],
            joint_vel=self.data.qvel[self._dofs],
            gripper=self._gripper(),
        )

    def command(self, command: JointCommand) -> JointCommand:
        """Move to `command` within the next tick; returns what was really sent, within the limits."""
        sent = limit_command(command, self._last, self.limits, 1 / self.hz)
        self._go(sent, self._next_disturbance() if self.disturbance > 0 else 0.0)
        return sent

    def stop(self) -> None:
        """Hold where the arm is."""
        self._go(self._measured(), 0.0)

    def now(self) -> float:
        """Time since reset [s]."""
        return float(self._steps * self._dt)

    def sleep_until(self, t: float) -> None:
        """Step the physics to time `t` [s]. Raises PhysicsError when the simulation diverges."""
        for _ in range(int(np.ceil(t / self._dt - 1e-6)) - self._steps):
            share = min((self._steps + 1 - self._ramp_start) / self._tick_steps, 1.0)
            self.data.ctrl[:] = self._ramp_from + share * (self._ramp_to - self._ramp_from)
            mujoco.mj_step(self.model, self.data)
            self._steps += 1
            self.task.step(self.now())
        for warning in WARNINGS:
            if self.data.warning[warning].number:
                raise PhysicsError(f"the simulation of {self.task.name} diverged before t = {self.now():g} s")

    def tool_pos(self) -> FloatArray:
        """True tool position (3,) [m] in the base frame."""
        return np.array(self.data.site_xpos[self._tool])

    def picture(self, camera: str, width: int, height: int) -> Image:
        """A picture (height, width, 3) as things are now, for the eye: does not count as an observation."""
        self._check_cameras((camera,))
        if (width, height) not in self._painters:
            self._painters[width, height] = Painter(self.model, width, height)
        return self._painters[width, height].paint(self.data, camera)

    def camera(self, name: str) -> Camera:
        """Where the camera `name` is fixed, and how it sees. Raises UnknownName."""
        self._check_cameras((name,))
        camera = self.model.camera(name)
        on_base = bool(self.model.body_weldid[camera.bodyid[0]] == 0)
        origin, turn = (np.zeros(3), np.eye(3)) if on_base else (self.tool_pos(), self._tool_axes())
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, (turn.T @ self.data.cam_xmat[camera.id].reshape(3, 3)).ravel())
        focal = 0.5 / np.tan(np.deg2rad(camera.fovy[0]) / 2)
        numbers = [*(turn.T @ (self.data.cam_xpos[camera.id] - origin)), *quat, focal]
        *pose, focal = (np.round(numbers, 9) + 0.0).tolist()  # equal on every machine: it says how episodes were made
        return Camera("base" if on_base else "tool", tuple(pose), focal)

    def close(self) -> None:
        """Give back what drawing holds; allowed any number of times."""
        for painter in self._painters.values():
            painter.close()
        self._painters.clear()

    def _check_cameras(self, names: tuple[str, ...]) -> None:
        known = [self.model.camera(i).name for i in range(self.model.ncam)]
        for name in names:
            if name not in known:
                raise UnknownName("camera", name, known)

    def _tool_axes(self) -> FloatArray:
        return np.array(self.data.site_xmat[self._tool]).reshape(3, 3)

    def _gripper(self) -> float:
        return float(np.clip(self.data.ten_length[self._grip_tendon] / GRIPPER_OPENING, 0, 1))

    def _measured(self) -> JointCommand:
        return JointCommand(self.data.qpos[self._qpos], self._gripper())

    def _go(self, target: JointCommand, offset: FloatArray | float) -> None:
        """Move all actuators to `target`, pushed off by `offset` [rad], evenly over a tick, as a real arm does."""
        self._last = target
        self._ramp_from, self._ramp_to = self.data.ctrl.copy(), self.data.ctrl.copy()
        self._ramp_to[self._ctrl] = target.joint_pos + offset
        self._ramp_to[self._grip_ctrl] = target.gripper * GRIPPER_OPENING
        self._ramp_start = self._steps

    def _next_disturbance(self) -> FloatArray:
        """The next joint offset (7,) [rad]: a push that swells and fades, through the Jacobian."""
        since = self.now() - self._push_start
        if since >= self._push_s:
            since = -self._chance.uniform(*PAUSE_S)
            self._push_start, self._push_s = self.now() - since, self._chance.uniform(*PUSH_S)
            self._push = self.disturbance * np.clip(self._chance.standard_normal(3), -2, 2) * LEVEL
        drift = self.exposure * self._push * np.sin(np.pi * max(since, 0.0) / self._push_s) ** 2
        jacobian = np.empty((6, self.model.nv))
        mujoco.mj_jacSite(self.model, self.data, jacobian[:3], jacobian[3:], self._tool)
        offset: FloatArray = np.linalg.pinv(jacobian[:, self._dofs]) @ np.concatenate([drift, np.zeros(3)])
        return offset


def _whole(ratio: float, what: str, of: str) -> int:
    """`ratio` as a whole number of 1 or more. Raises ValueError that says what does not divide."""
    if ratio < 1 - 1e-9 or abs(ratio - round(ratio)) > 1e-6:
        raise ValueError(f"{what} is {ratio:g} {of}, expected a whole number")
    return round(ratio)
