"""What every Robot, Clock and Policy must pass. A test class inherits a contract and gives its fixtures."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robomem.control.limits import JointLimits
from robomem.errors import SpecMismatch
from robomem.interfaces import Clock, Policy, Robot
from robomem.types import ActionChunk, Context, JointCommand, Observation


class ClockContract:
    """Fixture `clock`."""

    def test_it_is_a_clock(self, clock: Clock) -> None:
        assert isinstance(clock, Clock)

    def test_sleeping_ends_at_the_deadline_or_after(self, clock: Clock) -> None:
        due = clock.now() + 0.1
        clock.sleep_until(due)
        assert clock.now() >= due - 1e-9

    def test_a_deadline_that_has_passed_returns_at_once(self, clock: Clock) -> None:
        before = clock.now()
        clock.sleep_until(before - 1.0)
        assert before <= clock.now() < before + 0.1

    def test_time_does_not_go_back(self, clock: Clock) -> None:
        times = []
        for _ in range(5):
            times.append(clock.now())
            clock.sleep_until(times[-1] + 0.01)
        assert times == sorted(times)


class RobotContract:
    """Fixtures `robot` (fresh), `clock`, `limits` and `period_s` [s], the time between two commands."""

    @pytest.fixture(autouse=True)
    def leaves_the_robot_stopped(self, robot: Robot) -> Iterator[None]:
        yield
        robot.stop()

    def test_it_is_a_robot(self, robot: Robot) -> None:
        assert isinstance(robot, Robot)

    def test_observations_keep_their_shape(self, robot: Robot, clock: Clock, limits: JointLimits) -> None:
        one = robot.observe()
        clock.sleep_until(clock.now() + 0.1)
        other = robot.observe()
        assert one.joint_pos.shape == other.joint_pos.shape == limits.lower.shape
        assert one.images
        assert {name: image.shape for name, image in one.images.items()} == {
            name: image.shape for name, image in other.images.items()
        }

    def test_observations_carry_the_clock_s_time(self, robot: Robot, clock: Clock) -> None:
        one = robot.observe()
        assert one.t <= clock.now()
        clock.sleep_until(clock.now() + 0.2)
        assert one.t < robot.observe().t <= clock.now()

    def test_a_kept_observation_does_not_change(self, robot: Robot, clock: Clock, limits: JointLimits) -> None:
        kept = robot.observe()
        before = [kept.joint_pos.copy(), *(image.copy() for image in kept.images.values())]
        robot.command(JointCommand(_inside(limits, kept, 0.5), 1.0))
        clock.sleep_until(clock.now() + 0.2)
        robot.observe()
        for have, was in zip([kept.joint_pos, *kept.images.values()], before, strict=True):
            np.testing.assert_array_equal(have, was)

    def test_the_place_where_it_is_can_be_commanded(self, robot: Robot) -> None:
        here = robot.observe()
        sent = robot.command(JointCommand(here.joint_pos, here.gripper))
        np.testing.assert_allclose(sent.joint_pos, here.joint_pos, atol=1e-2)

    def test_what_was_sent_can_be_sent_again(self, robot: Robot, limits: JointLimits) -> None:
        sent = robot.command(JointCommand(_inside(limits, robot.observe(), 0.5), 0.5))
        again = robot.command(sent)
        np.testing.assert_array_equal(again.joint_pos, sent.joint_pos)
        assert again.gripper == sent.gripper

    @pytest.mark.parametrize("far", [1e3, -1e3])
    def test_commands_stay_in_range_and_under_the_speed_limit(
        self, robot: Robot, clock: Clock, limits: JointLimits, period_s: float, far: float
    ) -> None:
        here = robot.observe()
        last = robot.command(JointCommand(here.joint_pos, here.gripper)).joint_pos
        for _ in range(20):
            clock.sleep_until(clock.now() + period_s)
            sent = robot.command(JointCommand(np.full_like(last, far), far))
            assert (limits.lower <= sent.joint_pos).all()
            assert (sent.joint_pos <= limits.upper).all()
            assert (abs(sent.joint_pos - last) <= limits.max_vel * period_s + 1e-9).all()
            assert 0.0 <= sent.gripper <= 1.0
            last = sent.joint_pos

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("place", ["joint", "gripper"])
    def test_a_command_that_is_not_finite_is_not_sent(self, robot: Robot, bad: float, place: str) -> None:
        here = robot.observe()
        sent = robot.command(JointCommand(here.joint_pos, here.gripper))
        joint_pos, gripper = here.joint_pos.copy(), here.gripper
        if place == "joint":
            joint_pos[-1] = bad
        else:
            gripper = bad
        held = robot.command(JointCommand(joint_pos, gripper))
        np.testing.assert_array_equal(held.joint_pos, sent.joint_pos)
        assert held.gripper == sent.gripper

    def test_another_number_of_joints_is_an_error(self, robot: Robot, limits: JointLimits) -> None:
        with pytest.raises(ValueError, match="joints"):
            robot.command(JointCommand(np.zeros(len(limits.lower) + 1), 0.5))

    def test_it_goes_where_it_is_sent(self, robot: Robot, clock: Clock, limits: JointLimits, period_s: float) -> None:
        start = robot.observe()
        goal = _inside(limits, start, 0.05)
        for _ in range(int(2.0 / period_s)):
            robot.command(JointCommand(goal, 0.5))
            clock.sleep_until(clock.now() + period_s)
        before, after = abs(start.joint_pos - goal).max(), abs(robot.observe().joint_pos - goal).max()
        assert after < before / 2

    def test_stopping_holds_and_may_be_repeated(
        self, robot: Robot, clock: Clock, limits: JointLimits, period_s: float
    ) -> None:
        for _ in range(3):
            robot.command(JointCommand(_inside(limits, robot.observe(), 0.5), 0.5))
            clock.sleep_until(clock.now() + period_s)
        robot.stop()
        robot.stop()
        clock.sleep_until(clock.now() + 1.0)
        held = robot.observe()
        clock.sleep_until(clock.now() + 0.5)
        np.testing.assert_allclose(robot.observe().joint_pos, held.joint_pos, atol=5e-3)

    def test_a_fresh_robot_can_be_stopped(self, robot: Robot) -> None:
        robot.stop()


class PolicyContract:
    """Fixtures `policy`, `obs` that it was trained for, and `context`. Its memory has fork() and reset()."""

    def test_the_chunk_answers_the_context_and_covers_now(
        self, policy: Policy[Any], obs: Observation, context: Context
    ) -> None:
        chunk = policy.infer(obs, replace(context, version=7), policy.new_memory(0))
        assert chunk.context_version == 7
        assert chunk.t[0] <= obs.t + 1.0
        chunk.at(obs.t)

    def test_equal_memories_give_equal_chunks(self, policy: Policy[Any], obs: Observation, context: Context) -> None:
        one, other = policy.new_memory(3), policy.new_memory(3)
        for step in range(3):
            now = replace(obs, t=obs.t + 0.5 * step)
            _assert_equal(policy.infer(now, context, one), policy.infer(now, context, other))

    def test_a_fork_is_untouched(self, policy: Policy[Any], obs: Observation, context: Context) -> None:
        memory, later = policy.new_memory(3), replace(obs, t=obs.t + 0.5)
        policy.infer(obs, context, memory)
        fork = memory.fork()
        chunk = policy.infer(later, context, memory)
        policy.infer(replace(obs, t=obs.t + 1.0), context, memory)
        _assert_equal(policy.infer(later, context, fork), chunk)

    def test_sessions_do_not_touch_each_other(self, policy: Policy[Any], obs: Observation, context: Context) -> None:
        alone, shared, stranger = (policy.new_memory(seed) for seed in (3, 3, 4))
        for step in range(3):
            now = replace(obs, t=obs.t + 0.5 * step)
            chunk = policy.infer(now, context, alone)
            policy.infer(now, context, stranger)
            _assert_equal(policy.infer(now, context, shared), chunk)

    def test_a_reset_memory_is_as_new(self, policy: Policy[Any], obs: Observation, context: Context) -> None:
        memory = policy.new_memory(3)
        chunk = policy.infer(obs, context, memory)
        policy.infer(replace(obs, t=obs.t + 0.5), context, memory)
        memory.reset()
        _assert_equal(policy.infer(obs, context, memory), chunk)

    def test_a_wrong_camera_is_refused_by_name(self, policy: Policy[Any], obs: Observation, context: Context) -> None:
        name, image = next(iter(obs.images.items()))
        others = {key: value for key, value in obs.images.items() if key != name}
        smaller = np.ascontiguousarray(image[1:, 1:])
        for images in ({**others, name: smaller}, {**others, f"not_{name}": image}):
            with pytest.raises(SpecMismatch, match=name):
                policy.infer(replace(obs, images=images), context, policy.new_memory(0))

    def test_a_missing_camera_is_refused(self, policy: Policy[Any], obs: Observation, context: Context) -> None:
        with pytest.raises(SpecMismatch, match=next(iter(obs.images))):
            policy.infer(replace(obs, images={}), context, policy.new_memory(0))

    def test_another_number_of_joints_is_refused(self, policy: Policy[Any], obs: Observation, context: Context) -> None:
        joints = np.zeros(len(obs.joint_pos) + 1)
        with pytest.raises(SpecMismatch, match="joint"):
            policy.infer(replace(obs, joint_pos=joints, joint_vel=joints), context, policy.new_memory(0))


class SavedMemoryContract(PolicyContract):
    """A policy whose memory has save(path) and a class method load(path)."""

    def test_a_saved_memory_goes_on_as_if_it_had_not_been(
        self, policy: Policy[Any], obs: Observation, context: Context, tmp_path: Path
    ) -> None:
        memory, later = policy.new_memory(3), replace(obs, t=obs.t + 0.5)
        policy.infer(obs, context, memory)
        memory.save(tmp_path / "memory.safetensors")
        loaded = type(memory).load(tmp_path / "memory.safetensors")
        _assert_equal(policy.infer(later, context, loaded), policy.infer(later, context, memory))


def _inside(limits: JointLimits, obs: Observation, share: float) -> np.ndarray:
    """A place `share` of the way from where the arm is to the middle of its range."""
    middle: np.ndarray = (1 - share) * obs.joint_pos + share * (limits.lower + limits.upper) / 2
    return middle


def _assert_equal(one: ActionChunk, other: ActionChunk) -> None:
    np.testing.assert_array_equal(one.t, other.t)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.gripper, other.gripper)
    assert one.space == other.space
