"""Pictures in, one small video out, in a format that every browser plays without a licensed codec."""

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.video.stream import VideoStream

from robomem.types import Image

QUALITY = 34  # VP9 constant quality, 0 best to 63; flat simulated scenes show no artefacts here
MAX_WIDTH_PX = 640


def webm(frames: Sequence[Image], rate_hz: float) -> bytes:
    """`frames`, uint8 (H, W, 3) of one size, as a VP9 WebM of `rate_hz` pictures a second; b"" for no frames.

    Wider pictures are scaled down to MAX_WIDTH_PX. A key frame every half second keeps the slider quick.
    """
    if not frames:
        return b""
    shapes = {frame.shape for frame in frames}
    if len(shapes) > 1:
        raise ValueError(f"frames have sizes {sorted(shapes)}, expected one size")
    height, width, _ = frames[0].shape
    scale = min(1.0, MAX_WIDTH_PX / width)
    sink = io.BytesIO()
    with av.open(sink, mode="w", format="webm", options={"fflags": "+bitexact"}) as container:  # no random track id
        stream = container.add_stream("libvpx-vp9", rate=Fraction(rate_hz).limit_denominator(1000))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = _even(width * scale), _even(height * scale)
        stream.pix_fmt = "yuv420p"
        stream.gop_size = max(1, round(rate_hz / 2))
        stream.options = {"crf": str(QUALITY), "b": "0", "deadline": "realtime", "cpu-used": "6", "threads": "1"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(width=stream.width, height=stream.height)))
        container.mux(stream.encode(None))
    return sink.getvalue()


def _even(length: float) -> int:
    return max(2, 2 * round(length / 2))
