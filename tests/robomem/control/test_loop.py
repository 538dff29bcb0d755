"""The loop, tick by tick, around an arm that goes exactly where it is sent."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robomem.control.inference import InlineInference
from robomem.control.loop import LATE_SHARE, ControlLoop
from robomem.control.scripted import EpisodeOperator
from robomem.errors import InvalidChunk, SpecMismatch
from robomem.types import (
    ActionChunk,
    Context,
    Correction,
    End,
    Event,
    Frame,
    JointCommand,
    Mode,
    Observation,
    Release,
    Say,
    Start,
    Stop,
    TakeOver,
)
from tests.robomem.control.joint_arm import DT, HZ, Events, JointArm, Kept
from tests.robomem.control.noting_policy import NotingPolicy

HIGHER = Correction("skill", ({"kind": "translate", "axis": "z"},), "block", "episode", "higher", "test")


def constant(t: float, joints: Sequence[float], version: int, ticks: float = 100) -> ActionChunk:
    """A chunk that wants `joints` from `t` on for so many ticks."""
    return ActionChunk([t, t + ticks * DT], [joints, joints], "joint", [0.5, 0.5], version)


class Scripted:
    """An inference whose answers the test puts in `ready`; an exception there is raised."""

    def __init__(self) -> None:
        self.ready: list[ActionChunk | Exception] = []
        self.submitted: list[tuple[Observation, Context]] = []
        self.calls: list[str] = []
        self.seeds: list[int] = []

    def start(self, seed: int) -> None:
        self.calls.append("start")
        self.seeds.append(seed)

    def submit(self, obs: Observation, context: Context) -> None:
        self.calls.append("submit")
        self.submitted.append((obs, context))

    def take(self) -> ActionChunk | None:
        self.calls.append("take")
        answer = self.ready.pop(0) if self.ready else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self) -> None:
        self.calls.append("stop")


class Heard:
    """Corrections that answer each text as the test says."""

    def __init__(self, answers: dict[str, Correction | str], recalled: tuple[Correction, ...] = ()) -> None:
        self.answers, self.recalled = answers, recalled
        self.asked: list[tuple[Any, ...]] = []

    def recall(self, instruction: str, obs: Observation) -> Sequence[Correction]:
        self.asked.append(("recall", instruction, obs.t))
        return list(self.recalled)

    def hear(self, text: str, context: Context, obs: Observation) -> Correction | str:
        self.asked.append(("hear", text, context.version, obs.t))
        return self.answers[text]


class Rig:
    """A loop and everything around it."""

    def __init__(self, at: dict[int, list[Event]] | None = None, **options: Any) -> None:
        self.arm, self.inference, self.kept = JointArm(), Scripted(), Kept()
        self.operator = Events(at)
        options = {"max_chunk_age_s": 10.0, "corrections": None} | options
        self.loop = ControlLoop(
            options.pop("robot", self.arm),
            options.pop("inference", self.inference),
            self.operator,
            options.pop("corrections"),
            self.arm,
            HZ,
            options.pop("sinks", [self.kept]),
            **options,
        )

    def tick(self, *events: Event) -> Frame:
        self.operator.say(*events)
        return self.loop.tick()

    def plan(self, joints: Sequence[float], ticks: float = 100) -> None:
        """An answer to the present context, from the next tick on."""
        t, version = self.arm.t + DT * bool(self.kept.frames), self.loop.context.version
        self.inference.ready.append(constant(t, joints, version, ticks))


def following(joints: Sequence[float] = (0.1, 0.2), **options: Any) -> Rig:
    """A rig in POLICY that has just taken up a plan for `joints`."""
    rig = Rig(**options)
    rig.tick(Start("go"))
    rig.plan(joints)
    assert not rig.tick().starved
    return rig


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


# --- modes ---


INTO: dict[Mode, list[Event]] = {
    Mode.IDLE: [],
    Mode.POLICY: [Start("go")],
    Mode.TELEOP: [Start("go"), TakeOver()],
    Mode.STOPPED: [Stop()],
}
REFUSED = [
    *((Mode.IDLE, event) for event in (Say("x"), TakeOver(), Release(), End())),
    *((Mode.POLICY, event) for event in (Start("x"), Release())),
    *((Mode.TELEOP, event) for event in (Start("x"), End())),
    *((Mode.STOPPED, event) for event in (Start("x"), Say("x"), TakeOver(), Release(), End())),
]


@pytest.mark.parametrize(("mode", "event"), REFUSED)
def test_a_refused_event_is_recorded_and_changes_nothing(mode: Mode, event: Event) -> None:
    rig = Rig()
    rig.tick(*INTO[mode])
    context, calls = rig.loop.context, list(rig.inference.calls)
    frame = rig.tick(event)
    assert frame.mode is rig.loop.mode is mode
    assert frame.refused.startswith(f"no {type(event).__name__} while {mode}; allowed: ")
    assert rig.loop.context is context
    assert [call for call in rig.inference.calls[len(calls) :] if call not in ("submit", "take")] == []
    assert rig.loop.refused == 1


def test_all_that_was_refused_in_a_tick_is_said() -> None:
    frame = Rig().tick(Release(), TakeOver(), Start("go"), Say("higher"))
    assert frame.refused == (
        "no Release while idle; allowed: Start, Stop; no TakeOver while idle; allowed: Start, Stop; "
        "'higher' not applied: this run takes no corrections"
    )


def test_each_episode_starts_with_its_own_seed_and_a_new_context() -> None:
    rig = Rig(seed=7, at={0: [Start("one")], 1: [End(), Start("two")], 2: [End()], 3: [Start("three")]})
    versions = [rig.tick().context_version for _ in range(4)]
    assert rig.inference.seeds == [7, 8, 9]
    assert versions == [1, 2, 2, 3]
    assert rig.loop.context == Context("three", (), 3)


def test_the_seed_is_zero_unless_given() -> None:
    rig = Rig()
    rig.tick(Start("go"))
    assert rig.inference.seeds == [0]


def test_the_end_of_an_episode_ends_its_plan_and_its_inference() -> None:
    rig = following()
    frame = rig.tick(End())
    assert (frame.mode, frame.starved, frame.wanted.joint_pos.tolist()) == (Mode.IDLE, False, [0.1, 0.2])
    assert rig.inference.calls[-1] == "stop"
    rig.inference.calls.clear()
    rig.tick()
    assert rig.inference.calls == []
    assert rig.tick(Start("again")).starved


def test_observations_are_offered_and_answers_taken_at_every_tick() -> None:
    rig = Rig()
    rig.tick(Start("go"))
    rig.tick()
    rig.tick(TakeOver())
    rig.tick()
    assert rig.inference.calls == ["start"] + ["submit", "take"] * 4
    assert [obs.t for obs, _ in rig.inference.submitted] == [0, DT, 2 * DT, 3 * DT]
    assert {context for _, context in rig.inference.submitted} == {Context("go", (), 1)}


def test_while_a_person_moves_the_arm_no_plan_is_followed() -> None:
    rig = following()
    frame = rig.tick(TakeOver())
    assert (frame.mode, frame.source, frame.starved) == (Mode.TELEOP, "human", False)
    rig.plan([0.2, 0.3])
    assert rig.tick().wanted.joint_pos.tolist() == [0.1, 0.2]


def test_the_person_s_newest_command_is_followed_until_the_next() -> None:
    rig = following()
    one, two = JointCommand([0.2, 0.0], 0.1), JointCommand([0.3, 0.0], 0.2)
    assert rig.tick(TakeOver(one)).wanted is one
    assert rig.tick().wanted is one
    assert rig.tick(TakeOver(one), TakeOver(two)).wanted is two
    assert rig.tick(TakeOver()).wanted is two


def test_a_person_s_command_is_limited_like_any_other() -> None:
    rig = following([0.0, 0.0])
    assert rig.tick(TakeOver(JointCommand([9.0, 9.0], 0.5))).sent.joint_pos.tolist() == [0.25, 0.25]


def test_a_person_s_command_for_another_arm_is_refused_but_they_have_the_arm() -> None:
    rig = following()
    frame = rig.tick(TakeOver(JointCommand([0.0], 0.5)))
    assert frame.mode is Mode.TELEOP
    assert frame.refused == "the person's command has 1 joints, the arm has 2"
    assert frame.wanted.joint_pos.tolist() == [0.1, 0.2]


def test_release_waits_for_a_new_plan() -> None:
    rig = following()
    rig.tick(TakeOver(JointCommand([0.3, 0.3], 0.5)))
    stale_version = rig.loop.context.version
    frame = rig.tick(Release())
    assert (frame.mode, frame.source, frame.starved) == (Mode.POLICY, "policy", True)
    assert frame.sent.joint_pos.tolist() == [0.3, 0.3]
    rig.inference.ready.append(constant(rig.arm.t, [0.1, 0.2], stale_version))
    assert rig.tick().starved
    rig.plan([0.4, 0.4])
    frame = rig.tick()
    assert (frame.starved, frame.wanted.joint_pos.tolist()) == (False, [0.4, 0.4])
    assert rig.inference.submitted[-1][1] == Context("go", (), stale_version + 1)


def test_taking_over_again_does_not_recall_where_the_hand_was() -> None:
    rig = following()
    rig.tick(TakeOver(JointCommand([0.3, 0.3], 0.5)))
    rig.tick(Release())
    rig.plan([0.1, 0.1])
    rig.tick()
    assert rig.tick(TakeOver()).wanted.joint_pos.tolist() == [0.1, 0.1]


def test_stop_stops_the_robot_at_every_tick_and_commands_nothing_more() -> None:
    rig = following()
    rig.arm.calls.clear()
    last = rig.kept.frames[-1].sent
    for frame in (rig.tick(Stop()), rig.tick(Stop()), rig.tick()):
        assert (frame.mode, frame.sent, frame.starved, frame.refused) == (Mode.STOPPED, last, False, "")
    assert rig.arm.calls == ["observe", "stop"] * 3


def test_events_after_stop_are_refused() -> None:
    frame = Rig().tick(Stop(), Start("go"))
    assert (frame.mode, frame.refused) == (Mode.STOPPED, "no Start while stopped; allowed: Stop")


# --- words ---


def test_words_change_the_context_and_the_present_plan_runs_on() -> None:
    heard = Heard({"higher": HIGHER})
    rig = following(corrections=heard)
    frame = rig.tick(Say("higher"))
    assert (frame.starved, frame.refused, frame.context_version) == (False, "", 2)
    assert frame.wanted.joint_pos.tolist() == [0.1, 0.2]
    assert rig.loop.context == Context("go", (HIGHER,), 2)
    assert rig.inference.submitted[-1][1] is rig.loop.context
    assert heard.asked == [("recall", "go", 0.0), ("hear", "higher", 1, 2 * DT)]


def test_words_add_to_what_was_recalled() -> None:
    rig = Rig(corrections=Heard({"higher": HIGHER}, recalled=(HIGHER,)))
    rig.tick(Start("go"))
    assert rig.loop.context == Context("go", (HIGHER,), 1)
    rig.tick(Say("higher"))
    assert rig.loop.context == Context("go", (HIGHER, HIGHER), 2)


def test_words_that_are_no_correction_are_answered_and_change_nothing() -> None:
    rig = following(corrections=Heard({"hm": "no object is named"}))
    context = rig.loop.context
    assert rig.tick(Say("hm")).refused == "'hm' not applied: no object is named"
    assert rig.loop.context is context


def test_words_are_heard_while_a_person_moves_the_arm() -> None:
    rig = following(corrections=Heard({"higher": HIGHER}))
    rig.tick(TakeOver(), Say("higher"))
    assert (rig.loop.mode, rig.loop.context.corrections) == (Mode.TELEOP, (HIGHER,))


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
    rig.arm.t += 1.5 * DT
    rig.tick()
    lateness_us = rig.loop.summary().pop("lateness_us")
    counts = {"ticks": 3, "late": 1, "starved": 3, "refused": 1}
    assert rig.loop.summary() == counts | {"lateness_us": lateness_us}
    assert isinstance(lateness_us, dict)
    assert lateness_us["p50"] == 0.0
    assert lateness_us["max"] == DT / 2 * 1e6


# --- ways out ---


def test_a_run_ends_when_stopped_and_leaves_robot_and_inference_stopped() -> None:
    rig = Rig({0: [Start("go")], 3: [Stop()]})
    rig.loop.run()
    assert len(rig.kept.frames) == 4
    assert rig.arm.calls[-2:] == ["stop", "stop"]
    assert rig.inference.calls[-1] == "stop"


def test_one_line_is_logged_at_the_start_at_each_mode_change_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig({0: [Start("go")], 2: [TakeOver()], 3: [TakeOver()], 4: [Stop()]})
    rig.loop.run()
    assert [record.getMessage() for record in caplog.records] == [
        "loop starts at 16 Hz",
        "idle -> policy",
        "policy -> teleop",
        "teleop -> stopped",
        f"loop ends: {rig.loop.summary()}",
    ]
    assert {record.name for record in caplog.records} == {"robomem.control.loop"}


class Broken(Exception):
    pass


def breaking(part: str, error: BaseException) -> Rig:
    """A rig in which `part` raises in the third tick."""
    rig = Rig({0: [Start("go")]}, corrections=Heard({}))
    places: dict[str, tuple[Any, str]] = {
        "observe": (rig.arm, "observe"),
        "command": (rig.arm, "command"),
        "sleep": (rig.arm, "sleep_until"),
        "poll": (rig.operator, "poll"),
        "submit": (rig.inference, "submit"),
        "take": (rig.inference, "take"),
        "sink": (rig.kept, "append"),
    }
    owner, name = places[part]
    real, calls = getattr(owner, name), iter(range(100))

    def fail(*args: Any) -> Any:
        if next(calls) == 2:
            raise error
        return real(*args)

    setattr(owner, name, fail)
    return rig


@pytest.mark.parametrize("part", ["observe", "command", "sleep", "poll", "submit", "take", "sink"])
@pytest.mark.parametrize("kind", [Broken, KeyboardInterrupt, SystemExit])
def test_whatever_breaks_the_robot_is_stopped_and_the_error_gets_out(part: str, kind: type[BaseException]) -> None:
    error = kind("as planned")
    rig = breaking(part, error)
    with pytest.raises(kind) as caught:
        rig.loop.run()
    assert caught.value is error
    assert rig.arm.calls[-1] == "stop"
    assert rig.inference.calls[-1] == "stop"


def test_the_robot_is_stopped_before_the_inference_and_although_it_fails() -> None:
    rig = Rig({0: [Start("go")], 1: [Stop()]})
    order: list[str] = []

    def robot_stop() -> None:
        order.append("robot")
        if len(order) == 2:
            raise Broken("robot")

    rig.arm.stop = robot_stop  # type: ignore[method-assign]
    rig.inference.stop = lambda: order.append("inference")  # type: ignore[method-assign]
    with pytest.raises(Broken, match="robot"):
        rig.loop.run()
    assert order == ["robot", "robot", "inference"]


# --- whole runs ---


def episode(seed: int, ticks: int = 60) -> list[Frame]:
    arm, kept = JointArm(), Kept()
    operator = EpisodeOperator("go", lambda: arm.t >= ticks * DT)
    inference = InlineInference(NotingPolicy(), 4 * DT)
    ControlLoop(arm, inference, operator, None, arm, HZ, [kept], max_chunk_age_s=1.0, seed=seed).run()
    return kept.frames


def test_an_episode_runs_from_start_to_stop_and_never_starves() -> None:
    frames = episode(seed=1)
    assert [frame.mode for frame in frames] == [Mode.POLICY] * 60 + [Mode.STOPPED]
    assert not any(frame.starved or frame.late_s for frame in frames)


def test_a_run_repeats_bit_for_bit_and_another_seed_does_not() -> None:
    def sent(seed: int) -> bytes:
        return b"".join(frame.sent.joint_pos.tobytes() for frame in episode(seed))

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)


events = st.one_of(
    st.builds(Start, st.just("go")),
    st.builds(Say, st.sampled_from(["higher", "hm"])),
    st.just(TakeOver()),
    st.builds(lambda a, b: TakeOver(JointCommand([a, b], 0.5)), st.floats(), st.floats(-3, 3)),
    st.just(TakeOver(JointCommand([0.0], 0.5))),
    st.just(Release()),
    st.just(End()),
)
answers = st.one_of(
    st.none(),
    st.tuples(st.integers(-20, 20), st.integers(-1, 1), st.floats(-5, 5), st.integers(1, 10)),
    st.just(InvalidChunk("no")),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.lists(events, max_size=3), answers), min_size=1, max_size=25))
def test_whatever_happens_every_tick_sends_one_finite_command_within_the_limits(
    ticks: list[tuple[list[Event], Any]],
) -> None:
    rig = Rig(corrections=Heard({"higher": HIGHER, "hm": "no"}), max_chunk_age_s=6 * DT)
    before = np.zeros(2)
    for happened, answer in ticks:
        if isinstance(answer, tuple):
            late, version, goal, ticks_long = answer
            t = rig.arm.t + late * DT
            answer = constant(t, [goal, -goal], rig.loop.context.version + version, ticks_long)
        rig.inference.ready = [] if answer is None else [answer]
        rig.arm.calls.clear()
        frame = rig.tick(*happened)
        assert rig.arm.calls == ["observe", "command"]
        assert frame.sent.is_finite()
        assert (abs(frame.sent.joint_pos) <= 2.0).all()
        assert (abs(frame.sent.joint_pos - before) <= 0.25 + 1e-12).all()
        if frame.starved:
            assert frame.mode is Mode.POLICY
            assert frame.wanted.joint_pos.tolist() == before.tolist()
        assert (frame.source == "human") == (frame.mode is Mode.TELEOP)
        before = frame.sent.joint_pos
    rig.arm.calls.clear()
    assert rig.tick(Stop()).mode is Mode.STOPPED
    assert rig.arm.calls == ["observe", "stop"]
