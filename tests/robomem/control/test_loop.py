"""The loop, tick by tick, around an arm that goes exactly where it is sent."""

from robomem.control.inference import InlineInference
from robomem.control.loop import ControlLoop
from robomem.control.scripted import EpisodeOperator
from robomem.types import Mode
from tests.robomem.control.joint_arm import DT, HZ, JointArm, Kept
from tests.robomem.control.noting_policy import NotingPolicy


def test_an_episode_runs_from_start_to_stop() -> None:
    arm, kept = JointArm(), Kept()
    operator = EpisodeOperator("go", lambda: arm.t >= 10 * DT)
    loop = ControlLoop(
        arm, InlineInference(NotingPolicy(), 4 * DT), operator, None, arm, HZ, [kept], max_chunk_age_s=1.0
    )
    loop.run()
    assert [frame.mode for frame in kept.frames] == [Mode.POLICY] * 10 + [Mode.STOPPED]
    assert not any(frame.starved for frame in kept.frames)
