"""What people do to the loop: modes, a hand on the arm, words."""

import pytest

from robomem.types import Context, End, Event, JointCommand, Mode, Release, Say, Start, Stop, TakeOver
from tests.robomem.control.joint_arm import DT
from tests.robomem.control.rig import HIGHER, Heard, Rig, constant, following

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
