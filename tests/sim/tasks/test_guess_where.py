from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

from sim.robot import SimRobot
from sim.tasks.cover import GRASP_HEIGHT
from sim.tasks.guess_where import LOWER_S, SHOWN_AT, SWAP_S, GuessWhere
from sim.waypoints import Waypoint
from tests.sim.demonstrations import demonstrate
from tests.sim.tasks.play import assert_alike, follow, happened, look

UP = np.array([0.0, 0.0, 1.0])


@pytest.fixture
def task() -> GuessWhere:
    return GuessWhere()


@pytest.fixture
def robot(task: GuessWhere) -> SimRobot:
    """At the table, blind: pictures are for the tests that look."""
    return SimRobot(task, cameras=())


def watch(robot: SimRobot, until: float) -> None:
    """Let the scene play by itself until `until` [s]."""
    robot.sleep_until(until)


def seed_where(robot: SimRobot, holds: Callable[[GuessWhere], bool]) -> int:
    """The first seed whose episode, as reset, is such that `holds`."""
    task = robot.task
    assert isinstance(task, GuessWhere)
    for seed in range(100):
        robot.reset(seed)
        if holds(task):
            return seed
    raise AssertionError("no such episode in 100")


@pytest.mark.parametrize("seed", range(3))
def test_two_episodes_look_the_same_when_the_light_turns_green_and_need_different_covers(seed: int) -> None:
    moments, goals = [], []
    for hidden in (0, 2):
        task = GuessWhere()
        robot = SimRobot(task, cameras=())
        robot.reset(seed)
        task.hide_under(hidden)
        watch(robot, task._script.green_at + 0.05)
        assert happened(task) == ["green"]
        moments.append(look(robot))
        goals.append(next(waypoint.goal for waypoint in task.plan(np.random.default_rng(0)) if waypoint.kind != "wait"))
        robot.close()
    assert_alike(*moments)
    assert np.linalg.norm(np.subtract(*goals)) > 0.1


@pytest.mark.parametrize("seed", range(3))
def test_the_block_can_be_seen_before_it_is_covered_and_not_after(seed: int) -> None:
    task = GuessWhere()
    robot = SimRobot(task, cameras=())
    pictures = []
    for hidden in (0, 1, 2):
        robot.reset(seed)
        task.hide_under(hidden)
        watch(robot, 0.5)
        shown = robot.picture("front", 64, 64).astype(int)
        assert task.entities().visible[0]
        pictures.append(shown)
        watch(robot, task._script.green_at - 0.1)
        assert not task.entities().visible[0]
        assert _magenta(shown) >= 6, "the block must be plain at 64 px"
        assert _magenta(robot.picture("front", 64, 64).astype(int)) == 0
    robot.close()
    assert all((a != b).any() for a, b in pairwise(pictures))


def _magenta(picture: np.ndarray) -> int:
    """Pixels of the block's colour."""
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    return int(((red > 120) & (red - green > 70) & (blue - green > 30)).sum())


def test_swapped_covers_stand_where_the_others_stood_and_the_block_moved_along(
    robot: SimRobot, task: GuessWhere
) -> None:
    robot.reset(seed_where(robot, lambda task: bool(task._script.pair)))
    a, b = task._script.pair
    task.hide_under(a)
    before = [cover.pos for cover in task._covers]
    middle_y = (before[a][1] + before[b][1]) / 2
    watch(robot, task._script.swap_at + SWAP_S / 2)
    assert task._covers[a].pos[1] == pytest.approx(middle_y, abs=0.01)
    watch(robot, task._script.swap_at + SWAP_S + 0.05)
    np.testing.assert_allclose(task._covers[a].pos[:2], before[b][:2], atol=1e-6)
    np.testing.assert_allclose(task._covers[b].pos[:2], before[a][:2], atol=1e-6)
    np.testing.assert_allclose(task._block_qpos[:2], before[b][:2], atol=1e-6)


def test_covers_never_run_through_each_other(robot: SimRobot, task: GuessWhere) -> None:
    for seed in range(200):
        robot.reset(seed)
        script = task._script
        for t in np.linspace(script.swap_at, script.swap_at + SWAP_S, 21):
            xy = script.positions(float(t), 0)[:, :2]
            gaps = np.linalg.norm(xy[:, None] - xy[None], axis=-1)[np.triu_indices(3, 1)]
            assert gaps.min() > 0.09, f"seed {seed}, t = {t:.2f} s"


def test_half_of_the_episodes_swap_and_every_cover_hides_the_block_equally_often(
    robot: SimRobot, task: GuessWhere
) -> None:
    swaps, hidden = 0, np.zeros(3)
    for seed in range(600):
        robot.reset(seed)
        swaps += bool(task._script.pair)
        hidden[task._hidden] += 1
    assert 240 < swaps < 360
    assert hidden.min() > 150


def test_the_scene_is_still_between_the_cover_coming_down_and_the_light(robot: SimRobot, task: GuessWhere) -> None:
    robot.reset(seed_where(robot, lambda task: not task._script.pair))
    assert task._covers[task._hidden].lifted() == SHOWN_AT
    watch(robot, task._script.lower_at + LOWER_S + 0.01)
    before = np.array([cover.pos for cover in task._covers])
    watch(robot, task._script.green_at + 0.5)
    np.testing.assert_allclose([cover.pos for cover in task._covers], before, atol=2e-4)
    assert happened(task) == ["green"]


@pytest.mark.parametrize("seed", range(6))
def test_the_demonstrator_waits_for_the_light_and_finds_the_block(robot: SimRobot, task: GuessWhere, seed: int) -> None:
    demonstrate(robot, seed)
    assert task.success() and task.score() == 1
    assert [what.split(" on ")[0] for what in happened(task)] == ["green", "closed", "uncovered the block"]


def uncover(task: GuessWhere, cover: int, wait: bool = True, lift: float = 0.08) -> Iterator[Waypoint]:
    """Take cover `cover` by its knob and lift it by `lift` [m]."""
    if wait:
        yield Waypoint("wait", (0.34, 0, 0.36), 0, until=lambda: "green" in happened(task))
    knob = task._covers[cover].pos + GRASP_HEIGHT * UP
    yield Waypoint("approach", knob + 0.07 * UP, 1)
    yield Waypoint("grasp", knob, 0, dwell=0.4)
    yield Waypoint("lift", knob + lift * UP, 0, dwell=20)


def test_a_cover_touched_before_the_light_is_green_fails(robot: SimRobot, task: GuessWhere) -> None:
    follow(task, lambda: uncover(task, task._hidden, wait=False))
    demonstrate(robot, 0)
    assert task.failed() and not task.success() and task.score() == 0
    assert "before the light was green" in happened(task)[-1]


def test_lifting_another_cover_fails_without_credit(robot: SimRobot, task: GuessWhere) -> None:
    robot.reset(0)
    wrong = (task._hidden + 1) % 3
    follow(task, lambda: uncover(task, wrong))
    demonstrate(robot, 0)
    assert task.failed() and task.score() == 0
    assert happened(task) == ["green", f"closed on cover {wrong}", f"lifted cover {wrong}, which hides nothing"]


def test_holding_the_right_knob_is_half_and_lifting_too_little_is_no_success(robot: SimRobot, task: GuessWhere) -> None:
    follow(task, lambda: uncover(task, task._hidden, lift=0.03))
    demonstrate(robot, 0)
    assert not task.success() and not task.failed() and task.score() == 0.5


def test_toppling_even_the_right_cover_fails(robot: SimRobot, task: GuessWhere) -> None:
    seed = seed_where(robot, lambda task: task._hidden == 1)

    def sweep() -> Iterator[Waypoint]:
        yield Waypoint("wait", (0.34, 0, 0.36), 0, until=lambda: "green" in happened(task))
        x, y, z = task._covers[1].pos + GRASP_HEIGHT * UP
        yield Waypoint("approach", (x, y + 0.06, z + 0.05), 0)
        yield Waypoint("approach", (x, y + 0.06, z), 0)
        yield Waypoint("carry", (x, y - 0.1, z), 0, speed=0.8, dwell=1)

    follow(task, sweep)
    demonstrate(robot, seed)
    assert task.failed() and happened(task) == ["green", "toppled cover 1"]


def test_the_first_hand_on_a_knob_decides_the_partial_credit(robot: SimRobot, task: GuessWhere) -> None:
    robot.reset(0)
    wrong, right = (task._hidden + 1) % 3, task._hidden

    def first_the_wrong_one() -> Iterator[Waypoint]:
        yield from (waypoint for waypoint in uncover(task, wrong) if waypoint.kind != "lift")
        knob = task._covers[wrong].pos + GRASP_HEIGHT * UP
        yield Waypoint("release", knob, 1, dwell=0.4)
        yield Waypoint("retreat", knob + 0.08 * UP, 1)
        yield from uncover(task, right, wait=False, lift=0.03)

    follow(task, first_the_wrong_one)
    demonstrate(robot, 0)
    assert not task.failed() and task.score() == 0


def test_entities_are_the_block_the_covers_along_y_and_the_lamp(robot: SimRobot, task: GuessWhere) -> None:
    robot.reset(0)
    entities = task.entities()
    np.testing.assert_array_equal(entities.visible, [True] * 4 + [False] * 4)
    assert (np.diff(entities.pos[1:4, 1]) > 0).all()
    np.testing.assert_allclose(entities.pos[0, :2], task._covers[task._hidden].pos[:2])
    watch(robot, task._script.green_at + 0.1)
    np.testing.assert_array_equal(task.entities().visible, [False, *[True] * 4, *[False] * 3])


def test_a_new_episode_remembers_nothing_of_the_last(robot: SimRobot, task: GuessWhere) -> None:
    demonstrate(robot, 1)
    robot.reset(0)
    first = robot.data.qpos.copy(), task.model.geom("lamp").rgba.copy(), task.instruction
    fresh = GuessWhere()
    again = SimRobot(fresh, cameras=())
    again.reset(0)
    np.testing.assert_array_equal(again.data.qpos, first[0])
    np.testing.assert_array_equal(fresh.model.geom("lamp").rgba, first[1])
    assert fresh.instruction == first[2] and not task.events and task.score() == 0 and not task.success()
