"""The arm and the policy that the loop is tested with pass the contracts themselves."""

import numpy as np
import pytest

from robomem.control.limits import JointLimits
from robomem.types import Context, Observation
from tests.contracts import ClockContract, PolicyContract, RobotContract
from tests.robomem.control.joint_arm import DT, LIMITS, JointArm
from tests.robomem.control.noting_policy import NotingPolicy


@pytest.fixture
def arm() -> JointArm:
    arm = JointArm()
    arm.at = arm.target = type(arm.at)(np.array([0.5, -1.0]), 0.5)
    return arm


class TestJointArm(RobotContract, ClockContract):
    @pytest.fixture
    def robot(self, arm: JointArm) -> JointArm:
        return arm

    @pytest.fixture
    def clock(self, arm: JointArm) -> JointArm:
        return arm

    @pytest.fixture
    def limits(self) -> JointLimits:
        return LIMITS

    @pytest.fixture
    def period_s(self) -> float:
        return DT


class TestNotingPolicy(PolicyContract):
    @pytest.fixture
    def policy(self) -> NotingPolicy:
        return NotingPolicy()

    @pytest.fixture
    def obs(self, arm: JointArm) -> Observation:
        return arm.observe()

    @pytest.fixture
    def context(self) -> Context:
        return Context("go")
