"""Tokens are taught to point at the thing they stand for, in every picture that shows it."""

import torch

from policies.memoryvla.model import MemoryVLA
from policies.vlm.nano import STRIDE, Points
from tests.policies.demonstrations import SMALL

E, SIDE = SMALL.entities, SMALL.encoder.image_size // STRIDE
NOWHERE = SIDE**2


def losses(cells: list[int], at: tuple[float, float], pixel: tuple[float, float], visible: float) -> list[float]:
    """Of one thing, pointed at in two pictures; all others are out of sight."""
    logits = torch.zeros(1, 2, E, NOWHERE + 1)
    for view, cell in enumerate(cells):
        logits[0, view, 0, cell] = 20.0
    seen = torch.zeros(1, E)
    seen[0, 0] = visible
    pixels = torch.tensor([pixel, (1.5, 0.2)]).view(1, 2, 1, 2).expand(-1, -1, E, -1)
    points = Points(logits, torch.tensor(at).expand(1, 2, E, 2))
    return [float(loss) for loss in MemoryVLA(SMALL).point_loss(points, pixels, seen)]


def test_the_right_cell_and_place_cost_nothing() -> None:
    right = 2 * SIDE + 1  # row 2, column 1
    assert max(losses([right, NOWHERE], (0.3, 0.6), (0.3, 0.6), 1)) < 1e-6


def test_a_wrong_cell_costs_and_so_does_pointing_out_of_the_picture_or_at_what_is_not_there() -> None:
    right = 2 * SIDE + 1
    for cells in ([right + 1, NOWHERE], [SIDE + 2, NOWHERE], [NOWHERE, NOWHERE], [right, right]):
        assert losses(cells, (0.3, 0.6), (0.3, 0.6), 1)[0] > 5
    assert losses([right + 1, right], (0.0, 0.0), (0.3, 0.6), 0) == [0, 0]  # nobody sees it: nothing is asked


def test_how_far_beside_is_counted_in_cells() -> None:
    right, cell = 2 * SIDE + 1, 1 / SIDE
    near, far = (losses([right, NOWHERE], (0.3 + off * cell, 0.6), (0.3, 0.6), 1)[1] for off in (0.5, 1.0))
    assert abs(far - near - 0.25) < 1e-5  # half a cell along one of two axes
