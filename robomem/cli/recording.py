"""Frames of an episode: kept while it runs, and read back from a store."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomem.control.loop import LATE_SHARE
from robomem.control.rate import PERCENTILES
from robomem.control.replay import SentDigest
from robomem.data.episode import IMAGES
from robomem.types import Frame, JointCommand, Mode, Observation


class FrameList(list[Frame]):
    """A sink that keeps every frame."""


def frames_of(episode: Mapping[str, NDArray[Any]]) -> list[Frame]:
    """The frames that a recorder saved, from what `EpisodeStore.read` gives."""
    cameras = [field.removeprefix(IMAGES) for field in episode if field.startswith(IMAGES)]
    return [
        Frame(
            obs=Observation(
                float(episode["t"][k]),
                {camera: episode[IMAGES + camera][k] for camera in cameras},
                episode["joint_pos"][k],
                episode["joint_vel"][k],
                float(episode["gripper"][k]),
            ),
            mode=Mode(str(episode["mode"][k])),
            wanted=JointCommand(episode["wanted"][k, :-1], float(episode["wanted"][k, -1])),
            sent=JointCommand(episode["sent"][k, :-1], float(episode["sent"][k, -1])),
            context_version=int(episode["context_version"][k]),
            starved=bool(episode["starved"][k]),
            late_s=float(episode["late_s"][k]),
            refused=str(episode["refused"][k]),
            source=str(episode["source"][k]),  # type: ignore[arg-type]
        )
        for k in range(len(episode["t"]))
    ]


def counts_of(frames: Sequence[Frame], hz: float) -> dict[str, Any]:
    """What summary.json says of frames that came at `hz`."""
    digest, late_s = SentDigest(), np.array([frame.late_s for frame in frames])
    for frame in frames:
        digest.append(frame)
    return {
        "actions_sha256": digest.hexdigest(),
        "ticks": len(frames),
        "late": int((late_s > LATE_SHARE / hz).sum()),
        "starved": sum(frame.starved for frame in frames),
        "refused": sum(frame.refused != "" for frame in frames),
        "skipped": int((late_s * hz).astype(int).sum()),
        "lateness_us": {name: float(np.percentile(late_s, share)) * 1e6 for name, share in PERCENTILES.items()},
    }
