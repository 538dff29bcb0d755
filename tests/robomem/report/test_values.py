import numpy as np
import pytest

from robomem.report.values import Curve, EntryView, Estimate, MemorySnapshot, RunReport
from robomem.types import Frame, JointCommand, Mode, Observation
from tests.robomem.report.content import picture, snapshots, story


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((2.0, 1.0, 1, 0.5), "rising span"),
        ((0.0, 1.0, 0, 0.5), "count is 0"),
        ((0.0, 1.0, 1, 1.5), "attention is 1.5"),
        ((0.0, 1.0, 1, float("nan")), "attention is nan"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(values: tuple[float, float, int, float], message: str) -> None:
    t_start, t_end, count, attention = values
    with pytest.raises(ValueError, match=message):
        EntryView(t_start, t_end, count, picture(0), attention)


def test_pictures_must_be_uint8_rgb() -> None:
    with pytest.raises(ValueError, match="thumbnail is float64"):
        EntryView(0, 0, 1, np.zeros((4, 4, 3)), 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="image 'front'"):
        MemorySnapshot(0, (), {"front": np.zeros((4, 4), dtype=np.uint8)})


def test_an_interval_holds_its_mean() -> None:
    with pytest.raises(ValueError, match="outside its interval"):
        Estimate(0.5, 0.6, 0.9)


def test_snapshots_must_rise_in_time() -> None:
    with pytest.raises(ValueError, match="must rise"):
        story(snapshots=snapshots()[::-1])


def test_a_curve_has_a_value_for_every_step() -> None:
    with pytest.raises(ValueError, match="curve 'loss'"):
        Curve("loss", [1, 2], [0.5])


def test_a_run_is_read_from_its_frames() -> None:
    def frame(k: int, source: str, refused: str) -> Frame:
        obs = Observation(k / 20, {}, np.zeros(7), np.zeros(7), 1.0)
        wanted, sent = JointCommand(np.full(7, np.nan), 1.0), JointCommand(np.full(7, float(k)), 0.5)
        return Frame(obs, Mode.POLICY, wanted, sent, 0, k == 1, 0.001 * k, refused, source)  # type: ignore[arg-type]

    report = RunReport.of(story(), [frame(0, "policy", ""), frame(1, "human", "not finite")])
    assert report.sent.shape == report.wanted.shape == (2, 7)
    assert report.sent[1, 3] == 1.0
    assert list(report.human) == list(report.starved) == [False, True]
    assert report.refused == ((0.05, "not finite"),)
    assert RunReport.of(story(), []).sent.shape == (0, 0)
