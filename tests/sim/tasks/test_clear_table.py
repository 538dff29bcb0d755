from collections.abc import Iterator

import numpy as np
import pytest

from robomem.types import FloatArray
from sim.robot import SimRobot
from sim.tasks.button import TRAVEL
from sim.tasks.clear_table import APART, BIN_INSIDE, COLOURS, CUBE, STORE, ClearTable
from sim.waypoints import KINDS, Waypoint
from tests.sim.demonstrations import demonstrate
from tests.sim.tasks.play import assert_alike, follow, happened, look

BIN_AND_COUNTER = [len(COLOURS), len(COLOURS) + 1]  # slots


@pytest.fixture
def task() -> ClearTable:
    return ClearTable()


@pytest.fixture
def robot(task: ClearTable) -> SimRobot:
    """At the table, blind: pictures are for the tests that look."""
    return SimRobot(task, cameras=())


def seed_with(robot: SimRobot, n: int) -> int:
    """A seed with `n` cubes, left reset."""
    task = robot.task
    assert isinstance(task, ClearTable)
    for seed in range(100):
        robot.reset(seed)
        if task._n == n:
            return seed
    raise AssertionError(f"no episode of {n} cubes in 100")


@pytest.mark.parametrize("seed", range(3))
def test_resting_before_and_after_the_press_looks_the_same_and_needs_different_actions(seed: int) -> None:
    task = ClearTable()
    robot = SimRobot(task, cameras=())
    moments, goals = [], []

    def remember() -> bool:
        moments.append(look(robot))
        goals.append(next_goal(task))
        return True

    def rest() -> Iterator[Waypoint]:
        yield Waypoint("rest", (0, 0, 0), 0, dwell=1, until=remember)

    follow(task, lambda: place(task), rest, lambda: press(task), rest)
    demonstrate(robot, seed, until=lambda: len(moments) == 2)
    robot.close()
    assert_alike(*moments)
    assert np.linalg.norm(goals[0] - goals[1]) > 0.1


def next_goal(task: ClearTable) -> FloatArray:
    """What the task's own plan goes for next, from the state as it is."""
    plan = ClearTable.plan(task, np.random.default_rng(0))
    return np.asarray(next(waypoint.goal for waypoint in plan if waypoint.kind != "rest"))


@pytest.mark.parametrize("seed", range(2))
def test_the_arm_is_still_when_the_demonstrator_leaves_its_rest(robot: SimRobot, task: ClearTable, seed: int) -> None:
    shown = demonstrate(robot, seed)
    at_rest = np.array(shown.kinds) == KINDS.index("rest")
    leaves = np.flatnonzero(at_rest[:-1] & ~at_rest[1:])
    assert len(leaves) == 2 * task._n
    for i in leaves:
        obs = shown.frames[i].obs
        np.testing.assert_allclose(obs.joint_pos, robot.rest_joint_pos, atol=5e-4)
        np.testing.assert_allclose(obs.joint_vel, 0, atol=1e-2)


@pytest.mark.parametrize("seed", range(3))
def test_the_demonstrator_counts_every_cube(robot: SimRobot, task: ClearTable, seed: int) -> None:
    demonstrate(robot, seed)
    n = task._n
    assert task.success() and not task.failed() and task.score() == 1
    assert happened(task) == [what for k in range(1, n + 1) for what in (f"placed {k}", f"counted {k}")]


def test_every_colour_has_its_entity_and_the_first_goes_first(robot: SimRobot, task: ClearTable) -> None:
    seed = seed_with(robot, 3)
    seen = task.entities()
    first = seen.pos[np.flatnonzero(seen.visible)[0]]
    shown_as = np.array([robot.model.geom(f"cube{i}").rgba[:3] for i in range(3)])
    ranks = np.abs(shown_as[:, None] - np.array(COLOURS)).sum(-1).argmin(1).tolist()
    assert np.flatnonzero(seen.visible).tolist() == [*sorted(set(ranks)), *BIN_AND_COUNTER] and ranks == sorted(ranks)
    shown = demonstrate(robot, seed, until=lambda: robot.now() > 1.5)
    np.testing.assert_allclose(shown.goals[shown.kinds.index(KINDS.index("approach"))], first, atol=1e-3)


def test_entities_follow_the_cubes_into_the_bin(robot: SimRobot, task: ClearTable) -> None:
    seed = seed_with(robot, 2)
    before = task.entities()
    demonstrate(robot, seed)
    after = task.entities()
    np.testing.assert_array_equal(before.visible, after.visible)
    cubes, the_bin = np.flatnonzero(after.visible)[:2], after.pos[BIN_AND_COUNTER[0]]
    off = np.abs(after.pos[cubes, :2] - the_bin[:2])
    assert (off < BIN_INSIDE).all() and (np.abs(before.pos[cubes, :2] - the_bin[:2]).max(axis=1) > BIN_INSIDE[0]).all()


def press(task: ClearTable) -> Iterator[Waypoint]:
    """Push the counter all the way and let go."""
    x, y, z = task._counter.top
    yield Waypoint("approach", (x, y, z + 0.06), 0)
    yield Waypoint("press", (x, y, z + 0.009 - TRAVEL), 0, dwell=0.3)
    yield Waypoint("retreat", (x, y, z + 0.06), 0)


def place(task: ClearTable) -> Iterator[Waypoint]:
    """The demonstrator's own pick and place of the next cube."""
    yield from task._pick_and_place(task._left()[0])


def test_a_press_before_anything_is_placed_fails(robot: SimRobot, task: ClearTable) -> None:
    follow(task, lambda: press(task))
    demonstrate(robot, 0)
    assert task.failed() and not task.success() and task.score() == 0
    assert happened(task) == ["pressed the counter with nothing to count"]


def test_a_second_press_for_one_cube_fails_and_keeps_the_credit(robot: SimRobot, task: ClearTable) -> None:
    seed = seed_with(robot, 2)
    follow(task, lambda: place(task), lambda: press(task), lambda: press(task))
    demonstrate(robot, seed)
    assert task.failed() and task.score() == 0.5
    assert happened(task) == ["placed 1", "counted 1", "pressed the counter with nothing to count"]


def test_lifting_the_next_cube_before_the_press_fails(robot: SimRobot, task: ClearTable) -> None:
    seed = seed_with(robot, 2)
    follow(task, lambda: place(task), lambda: place(task))
    demonstrate(robot, seed)
    assert task.failed() and task.score() == 0.25
    assert happened(task) == ["placed 1", "lifted a cube before the last one was counted"]


def test_a_cube_held_still_inside_the_bin_is_not_placed_yet(robot: SimRobot, task: ClearTable) -> None:
    def hold() -> Iterator[Waypoint]:
        for waypoint in place(task):
            if waypoint.kind == "release":
                yield Waypoint("carry", (*task._bin_xy, 0.04), 0, dwell=20)
            yield waypoint

    follow(task, hold)
    demonstrate(robot, 0, until=lambda: robot.now() > 9)
    assert task.score() == 0 and not task.events


def test_taking_a_cube_out_of_the_bin_again_fails(robot: SimRobot, task: ClearTable) -> None:
    follow(task, lambda: place(task))
    demonstrate(robot, 0, until=lambda: "placed 1" in happened(task))
    task._qpos[task._placed[0]][:3] = 0.45, 0, CUBE
    robot.sleep_until(robot.now() + 0.1)
    assert task.failed() and happened(task)[-1] == "took a cube out of the bin"


def test_a_cube_pushed_off_the_table_fails(robot: SimRobot, task: ClearTable) -> None:
    robot.reset(0)
    task._qpos[0][:3] = 0.85, 0, 0.1
    robot.sleep_until(0.1)
    assert task.failed() and happened(task) == ["lost a cube"]


def test_a_lost_grasp_is_tried_again(robot: SimRobot, task: ClearTable) -> None:
    seed = seed_with(robot, 2)
    snatched = []

    def snatch() -> bool:
        i = task._left()[0] if not snatched else snatched[0]
        if not snatched and task._qpos[i][2] > 0.06:
            snatched.append(i)
            task._qpos[i][:] = 0.5, 0, CUBE, 1, 0, 0, 0
            task._qvel[i][:] = 0
        return False

    demonstrate(robot, seed, until=snatch)
    assert snatched and task.success()


def test_cubes_lie_apart_and_two_or_three_take_part(robot: SimRobot, task: ClearTable) -> None:
    counts = {2: 0, 3: 0}
    for seed in range(200):
        robot.reset(seed)
        seen = task.entities()
        xy = seen.pos[seen.visible][: task._n, :2]
        gaps = np.linalg.norm(xy[:, None] - xy[None], axis=-1)[np.triu_indices(task._n, 1)]
        assert gaps.min() >= APART
        counts[task._n] += 1
    assert min(counts.values()) > 60


def test_a_cube_that_takes_no_part_waits_out_of_sight(robot: SimRobot, task: ClearTable) -> None:
    seed_with(robot, 2)
    robot.sleep_until(1.0)
    np.testing.assert_allclose(task._qpos[2][:3], np.add(STORE, (0, 0, CUBE)), atol=1e-3)
    assert task.entities().visible.sum() == 2 + len(BIN_AND_COUNTER)
    assert not task.events


def test_a_new_episode_remembers_nothing_of_the_last(robot: SimRobot, task: ClearTable) -> None:
    demonstrate(robot, 1)
    robot.reset(0)
    fresh = ClearTable()
    again = SimRobot(fresh, cameras=())
    again.reset(0)
    np.testing.assert_array_equal(robot.data.qpos, again.data.qpos)
    np.testing.assert_array_equal(robot.model.geom_rgba, again.model.geom_rgba)
    np.testing.assert_array_equal(robot.model.body_pos, again.model.body_pos)
    assert fresh.instruction == task.instruction and not task.events and task.score() == 0
