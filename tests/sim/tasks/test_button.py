import mujoco
import numpy as np
import pytest

from sim.tasks.button import RELEASED, TRAVEL, Button
from sim.tasks.task import arena


@pytest.fixture
def button() -> Button:
    spec, button = arena(), Button("counter")
    button.add_to(spec, rgba=[1, 0, 0, 1])
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    button.bind(model, data)
    button.place((0.5, 0.2))
    mujoco.mj_forward(model, data)
    return button


def presses_at(button: Button, *depths: float) -> list[bool]:
    """What the button says when its cap is at each of `depths` [m]."""
    said = []
    for depth in depths:
        button._data.joint("counter").qpos = depth
        said.append(button.presses())
    return said


def test_a_press_counts_once_however_long_it_is_held(button: Button) -> None:
    assert presses_at(button, 0.0, 0.007, 0.01, 0.012, 0.007) == [False, True, False, False, False]


def test_half_the_travel_is_not_yet_a_press(button: Button) -> None:
    assert presses_at(button, TRAVEL / 2, TRAVEL / 2 + 1e-6) == [False, True]


def test_a_shaking_finger_is_one_press_and_a_released_cap_can_be_pressed_again(button: Button) -> None:
    assert presses_at(button, 0.01, RELEASED + 1e-6, 0.01) == [True, False, False]
    assert presses_at(button, RELEASED - 1e-6, 0.01) == [False, True]


def test_placing_releases(button: Button) -> None:
    presses_at(button, 0.01)
    button.place((0.4, 0.1))
    assert presses_at(button, 0.01) == [True]
    assert button.top.tolist() == [0.4, 0.1, 0.03]


def test_the_cap_comes_back_to_exactly_where_it_was(button: Button) -> None:
    model, data = button._model, button._data
    data.joint("counter").qpos = TRAVEL
    for _ in range(250):
        mujoco.mj_step(model, data)
    np.testing.assert_allclose(data.joint("counter").qpos, 0, atol=1e-6)
