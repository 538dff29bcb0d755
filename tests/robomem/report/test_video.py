import io

import av
import numpy as np
import pytest

from robomem.report.video import MAX_WIDTH_PX, webm
from tests.robomem.report.content import picture


def decoded(content: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(content)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_video_keeps_its_frames_size_rate_and_colours() -> None:
    colors = [(200, 40, 40), (40, 160, 60), (40, 60, 200)]
    frames = [np.full((48, 64, 3), colors[k // 10], dtype=np.uint8) for k in range(30)]
    content = webm(frames, 20)
    with av.open(io.BytesIO(content)) as container:
        assert container.streams.video[0].codec_context.name in ("vp9", "libvpx-vp9")
        assert container.duration == pytest.approx(30 / 20 * 1e6, rel=0.05)
    seen = decoded(content)
    assert len(seen) == 30 and seen[0].shape == (48, 64, 3)
    for before, after in zip(frames, seen, strict=True):
        assert np.abs(before.astype(int) - after).mean() < 12


def test_a_video_of_no_frames_is_empty() -> None:
    assert webm([], 20) == b""


def test_odd_and_wide_frames_are_brought_to_a_size_that_plays() -> None:
    assert decoded(webm([picture(9, 33, 47)], 20))[0].shape == (32, 48, 3)
    assert decoded(webm([picture(9, 300, 2 * MAX_WIDTH_PX)], 20))[0].shape == (150, MAX_WIDTH_PX, 3)


def test_frames_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one size"):
        webm([picture(1, 32, 32), picture(1, 32, 64)], 20)
