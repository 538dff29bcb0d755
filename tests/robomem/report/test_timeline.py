import json
from itertools import pairwise

import numpy as np
import pytest

from robomem.report.timeline import timeline
from robomem.report.values import EntryView, EpisodeStory, MemorySnapshot
from tests.robomem.report.content import picture, snapshots, story


def steps(view_of: EpisodeStory) -> list[dict[str, list[list[object]]]]:
    view = timeline(view_of)
    assert view is not None
    return json.loads(str(view.steps))["steps"]


def test_every_step_shows_what_was_held_and_what_changed() -> None:
    shown = steps(story())
    assert [len(step["entries"]) for step in shown] == [0, 1, 2, 3, 3, 3]
    assert shown[1]["entries"][0] == [0.0, 0.0, 1, 0, 1.0, "new"]
    assert shown[2]["entries"][0][-1] == ""
    first = shown[4]["entries"][0]
    assert (first[0], first[1], first[2], first[-1]) == (0.0, 0.5, 2, "merged")


def test_a_bar_lasts_from_the_write_to_the_merge() -> None:
    view = timeline(story())
    assert view is not None
    length = 6 * 0.5
    oldest = next(bar for bar in view.bars if (bar.t_start, bar.count) == (0.0, 1))
    assert (oldest.x * length, (oldest.x + oldest.width) * length) == pytest.approx((0.5, 2.0))
    assert view.n_merges == 2
    assert view.n_most == 3
    merged = [bar for bar in view.bars if bar.merged]
    assert [(bar.t_start, bar.t_end, bar.count) for bar in merged] == [(0.0, 0.5, 2), (0.0, 1.0, 3)]


def test_bars_that_are_held_at_one_time_never_overlap() -> None:
    view = timeline(story(snapshots=snapshots(20)))
    assert view is not None
    for x in np.linspace(0.012, 0.988, 41):
        held = sorted((bar.y, bar.y + bar.height) for bar in view.bars if bar.x <= x < bar.x + bar.width)
        assert all(low[1] <= high[0] + 1e-9 for low, high in pairwise(held))


def test_attention_is_the_opacity_of_its_step_and_time() -> None:
    from robomem.report.timeline import _attention

    entries = (EntryView(0.0, 0.0, 1, picture(1), 0.25), EntryView(1.0, 1.0, 1, picture(2), 0.75))
    history = (MemorySnapshot(0.0, ()), MemorySnapshot(1.0, entries[:1]), MemorySnapshot(2.0, entries))
    alpha = _attention(history, 0.0, 3.0, 1.0)[..., 3]
    assert alpha.shape[1] == 3
    assert not alpha[:, 0].any()
    assert alpha[-1, 2] == round(255 / 3) and alpha[len(alpha) // 2, 2] == 255
    assert not alpha[: len(alpha) // 3 - 1].any()


def test_the_same_picture_is_kept_once() -> None:
    view = timeline(story())
    assert view is not None
    assert len(view.thumbnails.tiles) == 5
    assert len(view.cameras.tiles) == 12


def test_labels_that_would_overlap_take_another_lane() -> None:
    view = timeline(
        story(events=((0.1, "a"), (1.0, "pressed the green button"), (1.1, "pressed"), (2.9, "the end of it")))
    )
    assert view is not None
    assert [mark.lane for mark in view.events] == [0, 0, 1, 0]
    assert [mark.leftward for mark in view.events] == [False, False, False, True]
    assert view.lanes == 2


def test_no_snapshots_is_no_timeline_and_one_is_enough() -> None:
    assert timeline(story(snapshots=())) is None
    assert timeline(story(snapshots=snapshots(1), events=())) is not None
