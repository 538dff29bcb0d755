"""The loop, tick by tick, around an arm that goes exactly where it is sent."""

import math

import numpy as np
import pytest

from robomem.control.loop import LATE_SHARE, ControlLoop
from robomem.errors import InvalidChunk, SpecMismatch
from robomem.types import ActionChunk, Context, End, JointCommand, Mode, Release, Start, TakeOver
from tests.robomem.control.joint_arm import DT, HZ, Events, JointArm, Kept
from tests.robomem.control.rig import Rig, Scripted, constant, following

# --- one tick ---


def test_idle_holds_where_the_arm_was_found() -> None:
    rig = Rig()
    rig.arm.at = JointCommand([0.3, -0.3], 0.25)
    rig.arm.target = rig.arm.at
    for tick in range(3):
        frame = rig.tick()
        assert frame.mode is Mode.IDLE
        assert frame.wanted.joint_pos.tolist() == frame.sent.joint_pos.tolist() == [0.3, -0.3]
        assert frame.wanted.gripper == frame.sent.gripper == 0.25
        assert (frame.starved, frame.refused, frame.source, frame.context_version) == (False, "", "policy", 0)
        assert frame.obs.t == tick * DT
    assert rig.inference.calls == []
    assert rig.loop.context == Context("")


def test_a_tick_follows_the_plan_and_records_what_was_sent() -> None:
    frame = following([0.1, 0.2]).kept.frames[-1]
    assert frame.wanted.joint_pos.tolist() == frame.sent.joint_pos.tolist() == [0.1, 0.2]
    assert (frame.mode, frame.starved, frame.refused, frame.context_version) == (Mode.POLICY, False, "", 1)


def test_what_is_recorded_is_what_was_sent_not_what_was_wanted() -> None:
    frame = following([0.1, 9.0]).kept.frames[-1]
    assert frame.wanted.joint_pos.tolist() == [0.1, 9.0]
    assert frame.sent.joint_pos.tolist() == [0.1, 0.25]
    assert frame.refused == "joint 2 limited: wanted 9, sent 0.25"


def test_the_plan_is_read_at_the_time_of_the_tick() -> None:
    rig = Rig()
    rig.tick(Start("go"))
    rig.inference.ready.append(ActionChunk([DT, 5 * DT], [[0.0, 0.0], [0.5, 1.0]], "joint", [0.0, 1.0], 1))
    wanted = [rig.tick().wanted for _ in range(5)]
    assert [w.joint_pos.tolist() for w in wanted] == [[0.0, 0.0], [0.125, 0.25], [0.25, 0.5], [0.375, 0.75], [0.5, 1.0]]
    assert [w.gripper for w in wanted] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_every_sink_gets_every_frame_in_order() -> None:
    one, other = Kept(), Kept()
    rig = Rig(sinks=iter([one, other]))
    frames = [rig.tick() for _ in range(3)]
    assert one.frames == other.frames == frames


def test_the_source_is_named_and_a_person_s_is_human() -> None:
    rig = Rig(source="oracle")
    sources = [rig.tick(*events).source for events in ([Start("go")], [TakeOver()], [Release()], [End()])]
    assert sources == ["oracle", "human", "oracle", "oracle"]


# --- starved and stale ---


def test_before_the_first_plan_the_arm_holds_and_starves() -> None:
    rig = Rig()
    frame = rig.tick(Start("go"))
    assert (frame.starved, frame.refused) == (True, "")
    assert frame.sent.joint_pos.tolist() == [0.0, 0.0]


def test_at_its_last_time_a_plan_still_holds_and_past_it_starves() -> None:
    rig = Rig()
    rig.tick(Start("go"))
    rig.plan([0.1, 0.2], ticks=2)
    assert [rig.tick().starved for _ in range(5)] == [False, False, False, True, True]
    assert rig.kept.frames[-1].wanted.joint_pos.tolist() == [0.1, 0.2]
    assert rig.kept.frames[-1].refused == ""
    assert rig.loop.starved == 3


def test_starving_holds_what_was_sent_not_what_was_wanted() -> None:
    rig = Rig()
    rig.tick(Start("go"))
    rig.plan([9.0, 0.0], ticks=1)
    sent = [rig.tick().sent.joint_pos[0] for _ in range(4)]
    assert sent == [0.25, 0.5, 0.5, 0.5]


def test_a_new_plan_ends_the_starving() -> None:
    rig = Rig()
    rig.tick(Start("go"))
    rig.plan([0.1, 0.2])
    assert not rig.tick().starved


@pytest.mark.parametrize(
    ("ticks_old", "executed"), [(-5, False), (-4, True), (-1, True), (0, True), (3, True), (4, True), (5, False)]
)
def test_a_chunk_is_executed_up_to_its_greatest_age_on_either_side(ticks_old: int, executed: bool) -> None:
    rig = Rig(max_chunk_age_s=4 * DT)
    for _ in range(5):
        rig.tick()
    rig.tick(Start("go"))
    rig.inference.ready.append(constant((6 - ticks_old) * DT, [0.1, 0.2], version=1))
    frame = rig.tick()
    assert frame.starved is not executed
    assert frame.wanted.joint_pos.tolist() == ([0.1, 0.2] if executed else [0.0, 0.0])
    assert frame.refused == ("" if executed else f"stale chunk: {ticks_old * DT:.3g} s old, at most {4 * DT:g} s")


def test_a_stale_plan_is_said_once_and_then_starves() -> None:
    rig = following(max_chunk_age_s=2 * DT)
    frames = [rig.tick() for _ in range(5)]
    assert [frame.starved for frame in frames] == [False, False, True, True, True]
    assert [bool(frame.refused) for frame in frames] == [False, False, True, False, False]
    assert frames[-1].sent.joint_pos.tolist() == [0.1, 0.2]


@pytest.mark.parametrize("age", [0.0, -1.0, math.nan, math.inf])
def test_an_age_that_would_let_everything_pass_is_an_error(age: float) -> None:
    with pytest.raises(ValueError, match=r"max_chunk_age_s is .*, expected a finite time above 0 s"):
        Rig(max_chunk_age_s=age)


def test_the_greatest_age_has_no_default() -> None:
    arm = JointArm()
    with pytest.raises(TypeError, match="max_chunk_age_s"):
        ControlLoop(arm, Scripted(), Events(), None, arm, HZ, [])  # type: ignore[call-arg]


# --- bad answers ---


def test_an_invalid_chunk_is_said_and_the_present_plan_runs_on() -> None:
    rig = following()
    rig.inference.ready.append(InvalidChunk("values is not finite"))
    frame = rig.tick()
    assert frame.refused == "invalid chunk: values is not finite"
    assert (frame.starved, frame.wanted.joint_pos.tolist()) == (False, [0.1, 0.2])


def test_a_chunk_for_another_context_is_dropped_and_the_present_plan_runs_on() -> None:
    rig = following()
    for version in (0, 2):
        rig.inference.ready.append(constant(rig.arm.t, [0.2, 0.3], version))
        frame = rig.tick()
        assert (frame.starved, frame.refused, frame.wanted.joint_pos.tolist()) == (False, "", [0.1, 0.2])


def test_a_newer_chunk_replaces_the_plan_at_once() -> None:
    rig = following()
    rig.plan([0.2, 0.3])
    assert rig.tick().wanted.joint_pos.tolist() == [0.2, 0.3]


def test_a_chunk_for_another_arm_ends_the_run() -> None:
    rig = Rig(at={0: [Start("go")]})
    rig.inference.ready.append(constant(0.0, [0.1, 0.2, 0.3], version=1))
    with pytest.raises(SpecMismatch, match="the policy plans for 3 joints, the arm has 2"):
        rig.loop.run()
    assert rig.arm.calls[-1] == "stop"


def test_a_chunk_in_tool_space_goes_through_the_kinematics() -> None:
    class Slide:
        """Joint i moves the tool along axis i."""

        def tool_pose(self, joint_pos: np.ndarray) -> np.ndarray:
            return np.array([*joint_pos, 0.0, 1.0, 0.0, 0.0, 0.0])

        def joints_for(self, tool_pose: np.ndarray, joint_pos: np.ndarray) -> np.ndarray:
            assert joint_pos.shape == (2,)
            return np.asarray(tool_pose)[:2]

    rig = Rig(kinematics=Slide())
    rig.tick(Start("go"))
    t = np.array([DT, 100 * DT])
    rig.inference.ready.append(ActionChunk(t, [[0.125, 0.25, 0, 1, 0, 0, 0]] * 2, "tool_pose", [0.5, 0.5], 1))
    assert rig.tick().sent.joint_pos.tolist() == [0.125, 0.25]
    rig.tick()
    rig.inference.ready.append(ActionChunk(t + 2 * DT, [[0.125, 0.25, 0, 0, 0, 0]] * 2, "tool_delta", [0.5, 0.5], 1))
    assert [rig.tick().wanted.joint_pos.tolist() for _ in range(3)] == [[0.25, 0.5]] * 3


def test_a_wanted_command_that_is_not_finite_holds_and_is_said() -> None:
    rig = Rig()
    rig.tick(Start("go"), TakeOver(JointCommand([0.1, 0.1], 0.5)))
    frame = rig.tick(TakeOver(JointCommand([math.nan, 0.1], 0.5)))
    assert frame.sent.joint_pos.tolist() == [0.1, 0.1]
    assert frame.refused == "not finite: held"


# --- time ---


@pytest.mark.parametrize(("late_s", "late"), [(0.0, 0), (LATE_SHARE * DT, 0), (LATE_SHARE * DT * 1.01, 1), (DT / 2, 1)])
def test_a_tick_that_is_late_is_counted(late_s: float, late: int) -> None:
    rig = Rig()
    rig.tick()
    rig.arm.t = DT + late_s
    assert rig.tick().late_s == pytest.approx(late_s, abs=1e-15)
    assert rig.loop.late == late


def test_late_ticks_add_up() -> None:
    rig = Rig()
    for _ in range(3):
        rig.tick()
        rig.arm.t += 1.5 * DT
    assert rig.loop.late == 2


def test_the_summary_tells_the_counts_and_the_lateness() -> None:
    rig = Rig()
    rig.tick(Start("go"))
    rig.tick(Release())
    rig.arm.t += 2.5 * DT
    rig.tick()
    lateness_us = rig.loop.summary().pop("lateness_us")
    counts = {"ticks": 3, "late": 1, "starved": 3, "refused": 1, "skipped": 1}
    assert rig.loop.summary() == counts | {"lateness_us": lateness_us}
    assert isinstance(lateness_us, dict)
    assert lateness_us["p50"] == 0.0
    assert lateness_us["max"] == 1.5 * DT * 1e6
