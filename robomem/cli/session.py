"""Everything that one episode needs, built from configuration: a robot at a task, and who moves it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robomem.cli.build import build
from robomem.interfaces import Inference, Kinematics
from robomem.types import Source

Part = Mapping[str, Any]


@dataclass(frozen=True)
class Session:
    """`inference` asks the policy for `robot`; `source` names who it is."""

    robot: Any
    kinematics: Kinematics
    inference: Inference
    source: Source


def build_session(task: Part, robot: Part, kinematics: Part, policy: Part, inference: Part | None = None) -> Session:
    """A session of `policy`: weights, run by `inference`, or a demonstrator, which is an inference itself."""
    arm = build(robot, task=build(task))
    geometry = build(kinematics)  # the loop's; the policy, which may run on another thread, has its own
    actor = build(policy, robot=arm, kinematics=build(kinematics))
    if inference is not None and hasattr(actor, "infer"):
        return Session(arm, geometry, build(inference, policy=actor, period_s=actor.period), "policy")
    return Session(arm, geometry, actor, getattr(actor, "source", "policy"))
