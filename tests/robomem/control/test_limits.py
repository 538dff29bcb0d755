"""Every edge of the gate before the arm, then random commands."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robomem.control.limits import SAME_POS, JointLimits, describe_limiting, limit_command
from robomem.types import JointCommand

DT = 0.05
LIMITS = JointLimits([-1.0, -2.0], [1.0, 3.0], [0.5, 2.0])
STEP = LIMITS.max_vel * DT  # 0.025, 0.1 rad
HOME = JointCommand([0.0, 0.0], 0.5)

finite = st.floats(-10, 10)
commands = st.builds(lambda a, b, g: JointCommand([a, b], g), finite, finite, finite)
inside = st.builds(
    lambda a, b, g: JointCommand([a, b], g), st.floats(-1.0, 1.0), st.floats(-2.0, 3.0), st.floats(0.0, 1.0)
)
anything = st.floats(allow_nan=True, allow_infinity=True)


def limited(wanted: JointCommand, last: JointCommand = HOME, dt: float = DT) -> JointCommand:
    return limit_command(wanted, last, LIMITS, dt)


def test_a_command_within_the_limits_is_sent_unchanged() -> None:
    wanted = JointCommand([0.01, -0.09], 0.25)
    sent = limited(wanted)
    assert sent.joint_pos.tolist() == [0.01, -0.09]
    assert sent.gripper == 0.25


def test_the_last_command_can_be_sent_again() -> None:
    assert limited(HOME).joint_pos.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 0.5), (1.0, 1.0), (math.nextafter(1, 2), 1.0), (2.0, 1.0), (1e300, 1.0)]
)
def test_one_step_is_the_furthest_from_the_last(sign: int, share: float, expected: float) -> None:
    sent = limited(JointCommand(sign * share * STEP, 0.5))
    assert sent.joint_pos.tolist() == (sign * expected * STEP).tolist()


@pytest.mark.parametrize(("edge", "sign"), [(LIMITS.upper, 1), (LIMITS.lower, -1)])
@pytest.mark.parametrize(("beyond", "reached"), [(-1.0, -1.0), (0.0, 0.0), (1.0, 0.0), (1e9, 0.0)])
def test_the_range_ends_at_its_limit(edge: np.ndarray, sign: int, beyond: float, reached: float) -> None:
    sent = limited(JointCommand(edge + sign * beyond * STEP, 0.5), JointCommand(edge, 0.5))
    assert sent.joint_pos.tolist() == (edge + sign * reached * STEP).tolist()


def test_one_joint_at_its_limit_does_not_hold_the_other() -> None:
    sent = limited(JointCommand([9.0, 0.05], 0.5), JointCommand([1.0, 0.0], 0.5))
    assert sent.joint_pos.tolist() == [1.0, 0.05]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("wanted", [[0.0, 0.0], [50.0, 50.0], [-50.0, -50.0]])
def test_a_last_command_out_of_range_moves_back_at_the_velocity_limit(sign: int, wanted: list[float]) -> None:
    last = JointCommand([sign * 5.0, sign * 5.0], 0.5)
    sent = limited(JointCommand(wanted, 0.5), last)
    assert sent.joint_pos.tolist() == (last.joint_pos - sign * STEP).tolist()


def test_moving_back_into_range_stops_at_what_was_wanted() -> None:
    sent = limited(JointCommand([9.0, 2.98], 0.5), JointCommand([1.01, 3.05], 0.5))
    assert sent.joint_pos.tolist() == [1.0, 2.98]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(-0.1, 0.0), (-5e-324, 0.0), (0.0, 0.0), (0.3, 0.3), (1.0, 1.0), (math.nextafter(1, 2), 1.0), (7.0, 1.0)],
)
def test_the_gripper_stays_between_closed_and_open(wanted: float, expected: float) -> None:
    assert limited(JointCommand([0.0, 0.0], wanted)).gripper == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1, "gripper"])
def test_one_number_that_is_not_finite_refuses_the_whole_command(bad: float, place: int | str) -> None:
    joints, gripper = [0.01, 0.01], 0.9
    if place == "gripper":
        gripper = bad
    else:
        joints[int(place)] = bad
    assert limited(JointCommand(joints, gripper)) is HOME


def test_no_time_means_no_motion() -> None:
    assert limited(JointCommand([1.0, 1.0], 0.5), dt=0.0).joint_pos.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dt", [-DT, -5e-324, math.nan, math.inf, -math.inf])
def test_a_period_that_is_not_a_time_is_an_error(dt: float) -> None:
    with pytest.raises(ValueError, match=r"dt is .*, expected a finite time of 0 s or more"):
        limited(HOME, dt=dt)


@pytest.mark.parametrize("bad", [JointCommand([math.nan, 0.0], 0.5), JointCommand([0.0, 0.0], math.inf)])
def test_a_last_command_that_is_not_finite_is_an_error(bad: JointCommand) -> None:
    with pytest.raises(ValueError, match="last is not finite"):
        limited(HOME, last=bad)


def test_another_number_of_joints_is_an_error() -> None:
    three = JointCommand([0.0, 0.0, 0.0], 0.5)
    with pytest.raises(ValueError, match="wanted has 3 joints, the limits have 2"):
        limited(three)
    with pytest.raises(ValueError, match="last has 3 joints, the limits have 2"):
        limited(HOME, last=three)


@given(commands, inside, st.floats(0, 1))
def test_from_within_range_every_command_stays_in_range_and_reach(
    wanted: JointCommand, last: JointCommand, dt: float
) -> None:
    sent = limit_command(wanted, last, LIMITS, dt)
    assert (sent.joint_pos >= LIMITS.lower).all()
    assert (sent.joint_pos <= LIMITS.upper).all()
    assert (abs(sent.joint_pos - last.joint_pos) <= LIMITS.max_vel * dt + 1e-12).all()
    assert 0.0 <= sent.gripper <= 1.0


@given(commands, commands, inside, st.floats(0, 1))
def test_no_allowed_command_is_nearer_to_the_wanted_one(
    wanted: JointCommand, other: JointCommand, last: JointCommand, dt: float
) -> None:
    sent = limit_command(wanted, last, LIMITS, dt)
    allowed = limit_command(other, last, LIMITS, dt)
    nearest, distance = abs(sent.joint_pos - wanted.joint_pos), abs(allowed.joint_pos - wanted.joint_pos)
    assert (nearest <= distance).all()
    assert abs(sent.gripper - wanted.gripper) <= abs(allowed.gripper - wanted.gripper)


@given(commands, commands, st.floats(0.01, 1))
def test_limiting_never_moves_further_out_of_range(wanted: JointCommand, last: JointCommand, dt: float) -> None:
    sent = limit_command(wanted, last, LIMITS, dt)

    def outside(command: JointCommand) -> np.ndarray:
        return np.abs(command.joint_pos - np.clip(command.joint_pos, LIMITS.lower, LIMITS.upper))

    assert (outside(sent) <= outside(last)).all()


@given(anything, anything, anything)
def test_what_is_sent_is_always_finite(first: float, second: float, gripper: float) -> None:
    assert limited(JointCommand([first, second], gripper)).is_finite()


def test_limits_keep_a_copy_that_cannot_be_written() -> None:
    lower = np.array([-1])
    limits = JointLimits(lower, [1], [1])
    lower[0] = -9
    assert limits.lower.tolist() == [-1.0]
    assert limits.lower.dtype == limits.upper.dtype == limits.max_vel.dtype == np.float64
    for array in (limits.lower, limits.upper, limits.max_vel):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_a_limit_that_is_missing_is_an_error() -> None:
    with pytest.raises(TypeError, match="max_vel"):
        JointLimits([-1.0], [1.0])  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["lower", "upper", "max_vel"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_limit_that_is_not_finite_is_an_error(name: str, bad: float) -> None:
    given_limits = {"lower": [-1.0, -1.0], "upper": [1.0, 1.0], "max_vel": [1.0, 1.0]}
    given_limits[name][1] = bad
    with pytest.raises(ValueError, match=f"{name} is not finite"):
        JointLimits(**given_limits)


@pytest.mark.parametrize("name", ["lower", "upper", "max_vel"])
@pytest.mark.parametrize("bad", [1.0, [], [[1.0]]])
def test_a_limit_of_another_shape_is_an_error(name: str, bad: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} has shape \(.*\), expected \(n,\)"):
        JointLimits(**{"lower": [-1.0], "upper": [1.0], "max_vel": [1.0], name: bad})


@pytest.mark.parametrize("name", ["lower", "upper", "max_vel"])
def test_limits_for_different_numbers_of_joints_are_an_error(name: str) -> None:
    sizes = {"lower": [-1.0], "upper": [1.0], "max_vel": [1.0]}
    sizes[name] = sizes[name] * 2
    with pytest.raises(ValueError, match=r"have \d, \d and \d joints, expected as many each"):
        JointLimits(**sizes)


@pytest.mark.parametrize("upper", [[1.0, -1.0], [1.0, -2.0]])
def test_an_empty_range_is_an_error(upper: list[float]) -> None:
    with pytest.raises(ValueError, match="is not below upper"):
        JointLimits([-1.0, -1.0], upper, [1.0, 1.0])


@pytest.mark.parametrize("max_vel", [0.0, -1.0])
def test_a_speed_limit_that_is_not_above_zero_is_an_error(max_vel: float) -> None:
    with pytest.raises(ValueError, match=r"max_vel is .*, expected above 0 rad/s"):
        JointLimits([-1.0, -1.0], [1.0, 1.0], [1.0, max_vel])


@pytest.mark.parametrize(
    ("wanted", "sent", "words"),
    [
        (JointCommand([0.1, 0.2], 0.3), JointCommand([0.1, 0.2], 0.3), ""),
        (JointCommand([0.0, 0.2], 0.3), JointCommand([SAME_POS, 0.2], 0.3), ""),
        (JointCommand([0.1, math.nan], 0.3), JointCommand([0.1, 0.2], 0.3), "not finite: held"),
        (JointCommand([0.1, 0.2], math.inf), JointCommand([0.1, 0.2], 0.3), "not finite: held"),
        (JointCommand([0.5, 0.2], 0.3), JointCommand([0.1, 0.2], 0.3), "joint 1 limited: wanted 0.5, sent 0.1"),
        (JointCommand([0.1, -4.0], 0.3), JointCommand([0.1, -2], 0.3), "joint 2 limited: wanted -4, sent -2"),
        (
            JointCommand([0.5, 0.2], 1.5),
            JointCommand([0.1, 0.2], 1.0),
            "joint 1 limited: wanted 0.5, sent 0.1; gripper limited: wanted 1.5, sent 1",
        ),
    ],
)
def test_what_was_not_sent_is_said_in_words(wanted: JointCommand, sent: JointCommand, words: str) -> None:
    assert describe_limiting(wanted, sent) == words


def test_commands_for_different_arms_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="zip"):
        describe_limiting(HOME, JointCommand([0.0], 0.5))
