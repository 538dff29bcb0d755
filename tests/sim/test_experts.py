"""The demonstrator as an inference."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from robomem.types import Context, JointCommand
from sim.experts import AIM, Demonstrator
from sim.robot import SimRobot
from sim.tasks.push_buttons import PushButtons
from sim.waypoints import KINDS, Waypoint
from tests.sim.demonstrations import demonstrate, panda


@pytest.fixture
def robot() -> SimRobot:
    return SimRobot(PushButtons(), cameras=())


def drive(robot: SimRobot, plan: list[Waypoint], seconds: float) -> Iterator[tuple[Demonstrator, JointCommand]]:
    """The demonstrator and what it wants, tick by tick, along `plan`."""
    robot.reset(0)
    robot.task.plan = lambda rng: iter(plan)
    expert = Demonstrator(robot, panda())
    expert.start(0)
    for tick in range(1, int(seconds * robot.hz) + 1):
        expert.submit(robot.observe(), Context("", version=3))
        chunk = expert.take()
        assert chunk.context_version == 3
        wanted = JointCommand(*chunk.at(robot.now()))
        robot.command(wanted)
        robot.sleep_until(tick / robot.hz)
        yield expert, wanted


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.experts.AIM", 0.0)


@pytest.mark.usefixtures("exact")
def test_the_tool_arrives_where_the_waypoint_says(robot: SimRobot) -> None:
    goal = [0.5, 0.1, 0.2]
    for expert, _ in drive(robot, [Waypoint("approach", goal, 1.0, yaw=0.4, dwell=5.0)], 2.0):
        np.testing.assert_array_equal(expert.goal, goal)
        assert expert.goal_kind == KINDS.index("approach")
    np.testing.assert_allclose(robot.tool_pos(), goal, atol=2e-3)
    assert robot.observe().gripper == pytest.approx(1.0, abs=0.05)


def test_it_aims_a_little_beside_and_what_follows_goes_on_there(robot: SimRobot) -> None:
    above, down, ways = [0.5, 0.1, 0.1], [0.5, 0.1, 0.06], []
    plan = [Waypoint("approach", above, 0), Waypoint("press", down, 0, dwell=0.5), Waypoint("retreat", above, 0)]
    for expert, wanted in drive(robot, plan * 8, 16.0):
        ways.append((expert.goal_kind, panda().tool_pose(wanted.joint_pos)[:2] - above[:2]))
    presses = [
        np.array([off for _, off in of]) for kind, of in itertools.groupby(ways, lambda way: way[0]) if kind == 3
    ]
    assert len(presses) == 8
    for press in presses:
        assert np.ptp(press, axis=0).max() < 1e-3  # m, straight down
        assert np.abs(press).max() < 2 * AIM + 1e-3
    assert np.std([press[-1] for press in presses], axis=0).min() > 0.2 * AIM


@pytest.mark.usefixtures("exact")
def test_the_path_is_straight_and_smooth(robot: SimRobot) -> None:
    start, goal = robot.tool_pos(), np.array([0.55, -0.2, 0.1])
    tools = [robot.tool_pos() for _ in drive(robot, [Waypoint("approach", goal, 0, dwell=9.0)], 2.0)]
    along = (goal - start) / np.linalg.norm(goal - start)
    aside = [np.linalg.norm(np.cross(tool - start, along)) for tool in tools]
    assert max(aside) < 3.5e-3  # m: it goes on from where the arm is, and the joints do not lag alike
    speeds = np.linalg.norm(np.diff(tools, axis=0), axis=1) * robot.hz
    assert 0.4 * 0.9 < speeds.max() < 0.4 * 1.16  # m/s
    assert np.abs(np.diff(speeds)).max() < 0.12  # m/s a tick


def test_a_pushed_arm_goes_on_from_where_it_is() -> None:
    goal = np.array([0.55, -0.2, 0.1])
    pushed = SimRobot(PushButtons(), cameras=(), disturbance=0.04)
    start, asides = pushed.tool_pos(), []
    for _, wanted in drive(pushed, [Waypoint("approach", goal, 0, dwell=9.0)], 3.0):
        tool = panda().tool_pose(pushed.observe().joint_pos)[:3]
        if np.linalg.norm(goal - tool) > 0.02:
            ahead = panda().tool_pose(wanted.joint_pos)[:3] - tool
            assert ahead @ (goal - tool) > 0  # never back to where it would have been
        along = (goal - start) / np.linalg.norm(goal - start)
        asides.append(np.linalg.norm(np.cross(tool - start, along)))
    assert max(asides) > 0.02  # m, it was pushed


def test_rest_ends_in_exactly_the_rest_pose(robot: SimRobot) -> None:
    plan = [Waypoint("approach", (0.5, 0.2, 0.1), 0.0), Waypoint("rest", (0, 0, 0), 0.0, dwell=9.0)]
    *_, (_, wanted) = drive(robot, plan, 4.0)
    np.testing.assert_array_equal(wanted.joint_pos, robot.rest_joint_pos)


def test_a_wait_ends_when_its_condition_holds_or_its_patience_ends(robot: SimRobot) -> None:
    def ends(patience: float, when: float) -> float:
        wait = Waypoint("wait", robot.tool_pos(), 0.0, until=lambda: robot.now() >= when, patience=patience)
        steps = drive(robot, [wait, Waypoint("lift", robot.tool_pos(), 0.0, dwell=9.0)], 3.0)
        return next(tick / robot.hz for tick, (expert, _) in enumerate(steps) if KINDS[expert.goal_kind] == "lift")

    assert ends(patience=9.0, when=1.0) == pytest.approx(1.0, abs=0.06)
    assert ends(patience=0.5, when=99.0) == pytest.approx(0.5, abs=0.06)


def test_a_grasp_closes_only_after_arrival(robot: SimRobot) -> None:
    plan = [Waypoint("approach", (0.4, 0, 0.3), 1.0, dwell=0.5), Waypoint("grasp", (0.4, 0, 0.2), 0.0, dwell=1.0)]
    for expert, wanted in drive(robot, plan, 3.0):
        high = panda().tool_pose(wanted.joint_pos)[2] > 0.205
        if KINDS[expert.goal_kind] == "grasp" and high:
            assert wanted.gripper == 1.0
    assert wanted.gripper == 0.0


def test_after_its_plan_it_rests(robot: SimRobot) -> None:
    *_, (expert, wanted) = drive(robot, [Waypoint("approach", (0.5, 0, 0.2), 0.0)], 3.0)
    assert KINDS[expert.goal_kind] == "rest"
    np.testing.assert_array_equal(wanted.joint_pos, robot.rest_joint_pos)


def test_style_varies_with_the_seed_and_only_with_it(robot: SimRobot) -> None:
    times = []
    for seed in (0, 1, 0):
        robot.task.__dict__.pop("plan", None)
        shown = demonstrate(robot, seed, until=lambda: robot.now() > 4)
        times.append([len(list(group)) for _, group in itertools.groupby(shown.kinds)])
    assert times[0] == times[2] != times[1]


def test_a_chunk_is_taken_once_and_a_stranger_is_told_to_start(robot: SimRobot) -> None:
    expert = Demonstrator(robot, panda())
    with pytest.raises(RuntimeError, match="call start"):
        expert.submit(robot.observe(), Context(""))
    expert.start(0)
    expert.submit(robot.observe(), Context(""))
    assert expert.take() is not None
    assert expert.take() is None
    expert.stop()
    expert.stop()
