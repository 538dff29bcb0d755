"""The arm's geometry, by MuJoCo, and its inverse, by mink."""

from pathlib import Path

import mink
import mujoco
import numpy as np
from numpy.typing import ArrayLike

from robomem.errors import UnknownName
from robomem.types import FloatArray

ITERATIONS = 12  # at most; a target one tick away takes two
ITERATION_S = 0.02  # s, the time that one iteration stands for: what the joint limits are checked against
POSTURE_COST = 1e-3  # against 1 for the tool: it settles only the joint that the tool leaves free
SETTLED = 1e-4  # rad, a smaller change than this ends the search


class ArmKinematics:
    """The joints between the base and the site `tool_site` of an MJCF file; everything else that moves is ignored.

    `rest` is the key of the file that a joint which the tool leaves free is drawn to, so that one tool pose has one
    posture, whoever asks for it and by whatever way the arm came: what a policy learned from then stays what it sees.

    For one thread. Raises UnknownName for a site or key that the file lacks.
    """

    def __init__(self, mjcf: Path | str, tool_site: str = "tool", rest: str = "rest") -> None:
        spec = mujoco.MjSpec.from_file(str(mjcf))
        sites = [site.name for site in spec.sites]
        if tool_site not in sites:
            raise UnknownName("site", tool_site, sites)
        keys = {key.name: np.array(key.qpos) for key in spec.keys}
        if rest not in keys:
            raise UnknownName("key", rest, list(keys))
        chain = _ancestors(spec.site(tool_site).parent)
        for thing in [*spec.keys, *spec.actuators, *spec.tendons, *spec.equalities, *spec.sensors]:
            spec.delete(thing)
        for joint in [joint for joint in spec.joints if joint.parent.name not in chain]:
            spec.delete(joint)
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._site = self._model.site(tool_site).id
        self.lower, self.upper = np.array(self._model.jnt_range.T, dtype=np.float64)
        """Joint limits (n,) [rad]."""
        self._configuration = mink.Configuration(self._model)
        self._tool = mink.FrameTask(tool_site, "site", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-6)
        self._posture = mink.PostureTask(self._model, cost=POSTURE_COST)
        self._posture.set_target(keys[rest][: self._model.nq])  # the arm's joints lead
        self._limits = [mink.ConfigurationLimit(self._model)]

    def tool_pose(self, joint_pos: ArrayLike) -> FloatArray:
        """Tool frame in base frame (7,): x y z [m], unit quaternion w x y z, for joint positions (n,) [rad]."""
        self._data.qpos[:] = joint_pos
        mujoco.mj_kinematics(self._model, self._data)
        pose = np.empty(7)
        pose[:3] = self._data.site_xpos[self._site]
        mujoco.mju_mat2Quat(pose[3:], self._data.site_xmat[self._site])
        return pose

    def tool_poses(self, joint_pos: ArrayLike) -> FloatArray:
        """Tool frames (T, 7) for joint positions (T, n)."""
        return np.array([self.tool_pose(row) for row in np.asarray(joint_pos)]).reshape(-1, 7)

    def joints_for(self, tool_pose: ArrayLike, joint_pos: ArrayLike) -> FloatArray:
        """Joint positions (n,) [rad] near `joint_pos` (n,) whose tool frame is nearest to `tool_pose` (7,).

        Within joint limits; a pose out of reach gives the nearest that a few iterations find. Not a function of time:
        limit the speed after.
        """
        target = np.asarray(tool_pose, dtype=np.float64)
        self._configuration.update(np.clip(joint_pos, self.lower, self.upper))
        self._tool.set_target(mink.SE3(np.concatenate([target[3:], target[:3]])))
        for _ in range(ITERATIONS):
            velocity = mink.solve_ik(
                self._configuration, [self._tool, self._posture], ITERATION_S, "daqp", damping=1e-8, limits=self._limits
            )
            self._configuration.integrate_inplace(velocity, ITERATION_S)
            if np.abs(velocity).max() * ITERATION_S < SETTLED:
                break
        return np.array(self._configuration.q)


def _ancestors(body: mujoco.MjsBody) -> set[str]:
    """Names of `body` and of every body it hangs on."""
    names = set()
    while body.name != "world":
        names.add(body.name)
        body = body.parent
    return names
