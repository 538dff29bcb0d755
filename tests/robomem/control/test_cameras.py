"""A camera sees a place where geometry says, whatever it is fixed on."""

import numpy as np
import pytest

from robomem.control.cameras import BEHIND, Camera

DOWN = (0.0, 1.0, 0.0, 0.0)  # half a turn about x: a hand that points down
REST = np.array([[0.4, 0.1, 0.3, *DOWN]])
FRONT = Camera("base", (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0), focal=0.5)  # looks down from 1 m, x to the right


@pytest.mark.parametrize(
    ("place", "seen"),
    [
        ((0.0, 0.0, 0.0), (0.5, 0.5)),
        ((1.0, 0.0, 0.0), (1.0, 0.5)),  # 45 degrees aside: at the edge of a picture of 90 degrees
        ((0.0, 1.0, 0.0), (0.5, 0.0)),  # y is up
        ((0.5, 0.0, 0.5), (1.0, 0.5)),  # half as far, half as large
        ((3.0, 0.0, 0.0), (2.0, 0.5)),  # out of the picture
        ((0.0, 0.0, 2.0), (BEHIND, BEHIND)),
    ],
)
def test_a_pinhole(place: tuple[float, ...], seen: tuple[float, ...]) -> None:
    np.testing.assert_allclose(FRONT.project([[place]], REST)[0, 0], seen, atol=1e-12)


def test_a_camera_on_the_tool_moves_and_turns_with_it() -> None:
    ahead = Camera("tool", (0.0, 0.0, 0.0, *DOWN), focal=0.5)  # looks along the tool, from the tool
    below = [0.4, 0.1, 0.0]
    np.testing.assert_allclose(ahead.project([[below]], REST)[0, 0], (0.5, 0.5), atol=1e-12)
    turn = np.cos(np.pi / 4)
    quarter = np.array([[0.4, 0.1, 0.3, 0.0, turn, turn, 0.0]])  # the hand turned a quarter about the vertical
    beside = [[0.4, 0.2, 0.0]]
    straight, turned = (ahead.project([beside], tool)[0, 0] for tool in (REST, quarter))
    assert np.linalg.norm(straight - 0.5) == pytest.approx(0.5 / 3)
    assert np.dot(straight - 0.5, turned - 0.5) == pytest.approx(0, abs=1e-12)
    assert np.linalg.norm(turned - 0.5) == pytest.approx(0.5 / 3)


def test_many_moments_at_once() -> None:
    random = np.random.default_rng(0)
    places, where = random.normal(size=(5, 3, 3)), random.normal(size=(5, 3))
    tools = np.concatenate([where, np.tile(DOWN, (5, 1))], axis=1)
    wrist = Camera("tool", (0.1, 0.0, -0.1, *DOWN), focal=0.7)
    together = wrist.project(places, tools)
    alone = [wrist.project(places[k : k + 1], tools[k : k + 1])[0] for k in range(5)]
    np.testing.assert_allclose(together, alone)
