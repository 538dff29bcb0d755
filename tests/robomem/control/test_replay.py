"""Episodes lived again, and every way in which they may differ."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robomem.control.inference import InlineInference
from robomem.control.loop import ControlLoop
from robomem.control.replay import (
    Difference,
    RecordedInference,
    ReplayRobot,
    SentDigest,
    first_difference,
    replay,
)
from robomem.types import End, Event, Frame, JointCommand, Mode, Release, Start, Stop, TakeOver
from tests.robomem.control.joint_arm import DT, HZ, Events, JointArm, Kept
from tests.robomem.control.noting_policy import NotingPolicy

SCRIPT: dict[int, list[Event]] = {
    2: [Start("go")],
    12: [TakeOver()],
    14: [TakeOver(JointCommand([0.5, 0.5], 1.0))],
    20: [Release()],
    30: [End(), Stop()],
}


def recorded(script: dict[int, list[Event]] = SCRIPT, horizon: int = 8, seed: int = 1) -> list[Frame]:
    arm, kept = JointArm(), Kept()
    inference = InlineInference(NotingPolicy(horizon=horizon), 10 * DT)
    ControlLoop(arm, inference, Events(script), None, arm, HZ, [kept], max_chunk_age_s=1.0, seed=seed).run()
    return kept.frames


def again(frames: list[Frame], seed: int = 1) -> list[Frame]:
    return replay(frames, "go", InlineInference(NotingPolicy(), 10 * DT), HZ, max_chunk_age_s=1.0, seed=seed)


def test_the_same_policy_repeats_an_episode_to_the_bit() -> None:
    frames = recorded()
    assert {frame.mode for frame in frames} == set(Mode)
    assert any(frame.starved for frame in frames)
    assert first_difference(frames, again(frames)) is None


def test_an_episode_that_ends_while_a_person_holds_the_arm_repeats() -> None:
    frames = recorded({0: [Start("go")], 5: [TakeOver()], 8: [Release(), End()], 9: [Start("go")], 12: [Stop()]})
    assert first_difference(frames, again(frames)) is None


def test_another_seed_differs_from_the_first_chunk_on() -> None:
    frames = recorded()
    difference = first_difference(frames, again(frames, seed=2))
    assert difference is not None
    assert (difference.tick, difference.field) == (3, "wanted.joint_pos")  # the first action is where the arm is
    assert difference.recorded == frames[3].wanted.joint_pos.tolist()


def test_what_was_wanted_can_be_wanted_again_without_the_policy() -> None:
    frames = recorded({0: [Start("go")], 30: [End(), Stop()]})
    lived = replay(frames, "go", RecordedInference(frames), HZ, max_chunk_age_s=1.0)
    assert first_difference(frames, lived) is None


def test_what_was_wanted_moves_another_arm_the_same_way() -> None:
    frames, arm, kept = recorded(), JointArm(), Kept()
    ControlLoop(
        arm, RecordedInference(frames), Events(SCRIPT), None, arm, HZ, [kept], max_chunk_age_s=1.0, seed=1
    ).run()
    assert first_difference(frames, kept.frames) is None


CHANGES: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("mode", {"mode": Mode.TELEOP}, "policy", "teleop"),
    ("context_version", {"context_version": 9}, 1, 9),
    ("source", {"source": "oracle"}, "policy", "oracle"),
    ("starved", {"starved": True}, False, True),
]


@pytest.mark.parametrize(("field", "change", "was", "became"), CHANGES)
def test_a_change_is_found_at_its_tick_and_named(field: str, change: dict[str, Any], was: Any, became: Any) -> None:
    frames = recorded()
    changed = [*frames[:5], replace(frames[5], **change), *frames[6:8], replace(frames[8], starved=True), *frames[9:]]
    assert first_difference(frames, changed) == Difference(5, field, was, became)


@pytest.mark.parametrize("kind", ["wanted", "sent"])
@pytest.mark.parametrize("part", ["joint_pos", "gripper"])
def test_one_bit_of_a_command_is_found(kind: str, part: str) -> None:
    frames = recorded()
    command = getattr(frames[5], kind)
    changed = replace(command, **{part: np.nextafter(getattr(command, part), 2)})
    difference = first_difference(frames, [*frames[:5], replace(frames[5], **{kind: changed}), *frames[6:]])
    assert difference is not None
    assert (difference.tick, difference.field) == (5, f"{kind}.{part}")


@pytest.mark.parametrize("part", ["t", "joint_pos", "joint_vel", "gripper"])
def test_a_change_of_what_was_felt_is_found(part: str) -> None:
    frames = recorded()
    obs = replace(frames[5].obs, **{part: np.nextafter(getattr(frames[5].obs, part), 2)})
    difference = first_difference(frames, [*frames[:5], replace(frames[5], obs=obs), *frames[6:]])
    assert difference is not None
    assert (difference.tick, difference.field) == (5, f"obs.{part}")


def test_one_pixel_is_found_and_told_by_digest() -> None:
    frames = recorded()
    image = frames[5].obs.images["front"].copy()
    image[0, 0, 0] += 1
    changed = replace(frames[5], obs=replace(frames[5].obs, images={"front": image}))
    difference = first_difference(frames, [*frames[:5], changed])
    assert difference is not None
    assert (difference.tick, difference.field) == (5, "obs.images.front")
    assert difference.recorded.startswith("uint8 (4, 6, 3) sha256 ")
    assert difference.recorded != difference.replayed


def test_a_camera_that_is_missing_or_new_is_found() -> None:
    frames = recorded()
    blind = replace(frames[0], obs=replace(frames[0].obs, images={}))
    gone, new = first_difference(frames, [blind]), first_difference([blind], frames)
    assert gone is not None
    assert new is not None
    assert (gone.field, gone.replayed) == (new.field, new.recorded) == ("obs.images.front", None)


def test_wanting_the_same_that_is_not_finite_is_no_difference() -> None:
    frame = replace(recorded()[0], wanted=JointCommand([np.nan, np.inf], np.nan))
    assert first_difference([frame], [frame]) is None


def test_how_late_it_was_and_words_are_no_difference() -> None:
    frames = recorded()
    assert first_difference(frames, [replace(frame, late_s=0.5, refused="words") for frame in frames]) is None


def test_a_shorter_run_differs_where_it_ends() -> None:
    frames = recorded()
    assert first_difference(frames, frames[:4]) == Difference(4, "frame", "policy", None)
    assert first_difference(frames[:4], frames) == Difference(4, "frame", None, "policy")
    assert first_difference([], []) is None


def test_a_recording_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no frames to replay"):
        ReplayRobot([])


def test_the_digest_tells_runs_apart_by_what_was_sent() -> None:
    def digest(frames: list[Frame]) -> str:
        sink = SentDigest()
        for frame in frames:
            sink.append(frame)
        return sink.hexdigest()

    frames = recorded()
    assert digest(frames) == digest(recorded())
    assert digest(frames) != digest(recorded(seed=2))
    assert digest(frames) != digest(frames[:-1])
    gripper = replace(frames[5], sent=replace(frames[5].sent, gripper=0.75))
    assert digest([*frames[:5], gripper, *frames[6:]]) != digest(frames)
    assert digest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
