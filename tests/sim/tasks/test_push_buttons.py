"""Push buttons: the judge, and that it cannot be done without memory."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from sim.robot import SimRobot
from sim.tasks.button import TRAVEL
from sim.tasks.push_buttons import APART, PushButtons
from sim.waypoints import KINDS
from tests.sim.demonstrations import demonstrate

SENSOR_NOISE_RAD = 1e-3
SENSOR_NOISE_LEVELS = 2.0  # of 255, root mean square, as a good camera has


@pytest.fixture
def robot() -> Iterator[SimRobot]:
    robot = SimRobot(PushButtons())
    yield robot
    robot.close()


def press(robot: SimRobot, *colours: str) -> PushButtons:
    """Press buttons one after the other, by hand."""
    task = robot.task
    assert isinstance(task, PushButtons)
    for colour in colours:
        robot.data.joint(colour).qpos = TRAVEL
        robot.sleep_until(robot.now() + 0.3)
    return task


def test_a_pressed_button_comes_back_to_the_same_picture_while_another_becomes_due(robot: SimRobot) -> None:
    """The aliasing, to the pixel: only memory knows whether the first button was pressed."""
    robot.reset(0)
    robot.sleep_until(1.0)
    before = robot.observe()
    task = press(robot, robot.task.order[0])
    robot.sleep_until(3.0)
    after = robot.observe()
    for camera, image in before.images.items():
        np.testing.assert_array_equal(image, after.images[camera])
    np.testing.assert_allclose(before.joint_pos, after.joint_pos, atol=1e-9)
    assert task.n_right() == 1


def test_in_a_demonstration_every_rest_looks_alike_but_leads_elsewhere(robot: SimRobot) -> None:
    """The aliasing as a policy meets it: rests before the first, second and third press, within sensor noise."""
    for seed in range(3):
        shown = demonstrate(robot, seed)
        rest = KINDS.index("rest")
        ends = [i for i in range(1, len(shown.kinds)) if shown.kinds[i - 1] == rest != shown.kinds[i]]
        assert len(ends) == 3
        for one, other in pairwise(ends):
            before, after = shown.frames[one - 1].obs, shown.frames[other - 1].obs
            np.testing.assert_allclose(before.joint_pos, after.joint_pos, atol=SENSOR_NOISE_RAD)
            np.testing.assert_allclose(before.joint_vel, after.joint_vel, atol=20 * SENSOR_NOISE_RAD)
            assert before.gripper == pytest.approx(after.gripper, abs=SENSOR_NOISE_RAD)
            for camera, image in before.images.items():
                difference = image.astype(float) - after.images[camera]
                assert np.sqrt(np.mean(difference**2)) < SENSOR_NOISE_LEVELS
            assert np.linalg.norm(shown.goals[one] - shown.goals[other]) > APART / 2


def test_three_presses_in_order_are_success(robot: SimRobot) -> None:
    robot.reset(0)
    task = press(robot, *robot.task.order)
    assert task.success() and not task.failed()
    assert [event.what for event in task.events] == [f"pressed {colour}" for colour in task.order]


@pytest.mark.parametrize(("presses", "score"), [((0, 0), 1 / 3), ((1,), 0), ((0, 2), 1 / 3), ((0, 1, 0), 2 / 3)])
def test_a_wrong_press_fails_and_keeps_the_credit_before_it(
    robot: SimRobot, presses: tuple[int, ...], score: float
) -> None:
    robot.reset(0)
    task = press(robot, *(robot.task.order[i] for i in presses))
    assert task.failed() and not task.success()
    assert task.score() == pytest.approx(score)


def test_buttons_lie_apart_and_colours_and_orders_vary(robot: SimRobot) -> None:
    orders = set()
    for seed in range(40):
        robot.reset(seed)
        places = robot.task.entities().pos[:3]
        gaps = np.linalg.norm(places[:, None] - places, axis=-1)
        assert gaps[np.triu_indices(3, 1)].min() >= APART
        orders.add(robot.task.order)
        assert all(colour in robot.task.instruction for colour in robot.task.order)
    assert len(orders) > 15
