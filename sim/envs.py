"""The tasks as gymnasium environments. Importing this module makes `gymnasium.make("robomem/PushButtons-v0")` work."""

import string
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from robomem.errors import UnknownName
from robomem.types import FloatArray, Image, JointCommand
from sim.robot import SimRobot
from sim.tasks.clear_table import ClearTable
from sim.tasks.guess_where import GuessWhere
from sim.tasks.push_buttons import PushButtons
from sim.tasks.task import Task

TASKS: dict[str, type[Task]] = {task.name: task for task in (PushButtons, GuessWhere, ClearTable)}
WORDS = spaces.Text(max_length=160, charset=string.ascii_letters + string.digits + string.punctuation + " ")
POS_MARGIN = 0.05  # rad, how far a joint may be seen past its limit
VEL_MARGIN = 3.0  # how many times its limit a joint may be seen to move when it is hit

Seen = dict[str, Any]


def new_task(name: str) -> Task:
    """A task by its name. Raises UnknownName, which lists them."""
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name]()


class TaskEnv(gymnasium.Env[Seen, FloatArray]):
    """One task. An action (8,) holds the joint targets and the gripper for one tick of 1 / `hz` s.

    An observation holds a picture of each camera, uint8 (`image_size`, `image_size`, 3), by its name; "joint_pos" (7,)
    [rad]; "joint_vel" (7,) [rad/s]; "gripper" (1,), 0 closed to 1 open; "instruction", words.
    Each number of an action is -1 to 1 over its range: a joint's limits, the gripper from closed to open. The reward is
    what the score grew by. An episode is terminated by success or by a mistake that cannot be mended and truncated at
    the task's `max_s`. `reset(seed=s)` gives the episode that `SimRobot.reset(s)` gives.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  as gymnasium has it

    def __init__(
        self,
        task: str,
        hz: float = 20.0,
        camera_hz: float = 10.0,
        image_size: int = 64,
        disturbance: float = 0.0,
        render_mode: str | None = None,
        render_size: int = 480,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UnknownName("render mode", str(render_mode), self.metadata["render_modes"])
        self.metadata = {**self.metadata, "render_fps": round(hz)}
        self.render_mode, self._render_size = render_mode, render_size
        self.robot = SimRobot(new_task(task), hz, camera_hz, image_size, disturbance)
        limits = self.robot.limits
        margin, speed = POS_MARGIN, VEL_MARGIN * limits.max_vel
        self._boxes = {
            "joint_pos": spaces.Box(limits.lower - margin, limits.upper + margin, dtype=np.float64),
            "joint_vel": spaces.Box(-speed, speed, dtype=np.float64),
            "gripper": spaces.Box(0.0, 1.0, (1,), np.float64),
        }
        images = dict.fromkeys(self.robot.cameras, spaces.Box(0, 255, (image_size, image_size, 3), np.uint8))
        self.observation_space = spaces.Dict({**images, **self._boxes, "instruction": WORDS})
        self.action_space = spaces.Box(-1.0, 1.0, (len(limits.lower) + 1,), np.float64)
        self._low, self._high = np.append(limits.lower, 0.0), np.append(limits.upper, 1.0)

    @property
    def task(self) -> Task:
        """The task and its true state."""
        return self.robot.task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Seen, dict[str, Any]]:
        """A new episode, the one of `seed` when there is one; `options` are not used."""
        super().reset(seed=seed)
        self.robot.reset(int(self.np_random.integers(2**31)) if seed is None else seed)
        self._ticks, self._score = 0, self.task.score()
        return self._observe(), self._info()

    def step(self, action: FloatArray) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """One tick under `action` (8,)."""
        target = self._low + (np.asarray(action, dtype=np.float64) + 1) / 2 * (self._high - self._low)
        self.robot.command(JointCommand(target[:-1], target[-1]))
        self._ticks += 1
        self.robot.sleep_until(self._ticks / self.robot.hz)
        before, self._score = self._score, self.task.score()
        terminated = self.task.success() or self.task.failed()
        truncated = not terminated and self.robot.now() >= self.task.max_s
        return self._observe(), self._score - before, terminated, truncated, self._info()

    def action_for(self, command: JointCommand) -> FloatArray:
        """The action (8,) that asks for `command`."""
        target = np.append(command.joint_pos, command.gripper)
        action: FloatArray = 2 * (target - self._low) / (self._high - self._low) - 1
        return action

    def render(self) -> Image | None:
        """The front camera's picture, `render_size` px square; None without a render mode."""
        if self.render_mode is None:
            return None
        return self.robot.picture("front", self._render_size, self._render_size)

    def close(self) -> None:
        """Give back what drawing holds."""
        self.robot.close()

    def _observe(self) -> Seen:
        obs = self.robot.observe()
        seen = {"joint_pos": obs.joint_pos, "joint_vel": obs.joint_vel, "gripper": np.array([obs.gripper])}
        clipped = {name: np.clip(seen[name], box.low, box.high) for name, box in self._boxes.items()}
        images = {name: image.copy() for name, image in obs.images.items()}  # the caller's own, as gymnasium promises
        return {**images, **clipped, "instruction": self.task.instruction}

    def _info(self) -> dict[str, Any]:
        return {"success": self.task.success(), "score": self._score}


def _env_id(name: str) -> str:
    """The gymnasium name of a task: push_buttons is robomem/PushButtons-v0."""
    return f"robomem/{name.title().replace('_', '')}-v0"


for _name in TASKS:
    gymnasium.register(_env_id(_name), entry_point="sim.envs:TaskEnv", kwargs={"task": _name})
