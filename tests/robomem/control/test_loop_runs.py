"""How runs end, whatever happens in them, and what a whole run promises."""

import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robomem.control.inference import InlineInference
from robomem.control.loop import ControlLoop
from robomem.control.scripted import EpisodeOperator
from robomem.errors import InvalidChunk
from robomem.types import End, Event, Frame, JointCommand, Mode, Release, Say, Start, Stop, TakeOver
from tests.robomem.control.joint_arm import DT, HZ, JointArm, Kept
from tests.robomem.control.noting_policy import NotingPolicy
from tests.robomem.control.rig import HIGHER, Heard, Rig, constant

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
