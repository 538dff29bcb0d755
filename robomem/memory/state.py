"""The memory of one or more episodes as a plain value."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from robomem.errors import CheckpointError
from robomem.memory.stream import Stream
from robomem.types import Image


@dataclass(frozen=True, eq=False)
class MemoryEntry:
    """One held memory, for people to look at: `start`..`end` [s] is the time it stands for, `count` the steps merged
    into it, `attention` 0..1 its share of the last read, `thumbnail` (h, w, 3) what the camera saw when it began."""

    start: float
    end: float
    count: int
    attention: float
    thumbnail: Image | None


@dataclass
class MemoryState:
    """What is remembered of B sessions: one stream of cognitive tokens, one of perceptual tokens.

    `seed` and `step` fix the sampling noise.
    """

    cognitive: Stream  # N = 1
    perceptual: Stream
    seed: int = 0
    step: int = 0
    thumbnails: tuple[Image | None, ...] = ()  # one a slot, session 0; of a slot that was never filled, None

    @property
    def length(self) -> Tensor:
        """Entries held, (B,)."""
        return self.cognitive.length

    def reset(self) -> None:
        """Forget everything; the noise starts again as well."""
        for name, stream in self.streams().items():
            sessions, slots, tokens, dim = stream.tokens.shape
            setattr(self, name, Stream.empty(sessions, slots, tokens, dim, stream.tokens.device))
        self.step, self.thumbnails = 0, ()

    def fork(self) -> Self:
        """An independent copy."""
        return replace(self)

    def detach(self) -> Self:
        """A copy through which no gradient flows."""
        return self._each(lambda stream: stream.each(Tensor.detach))

    def first(self, sessions: int) -> Self:
        """A copy of the first `sessions`."""
        return self._each(lambda stream: stream.each(lambda tensor: tensor[:sessions]))

    def become(self, other: Self) -> None:
        """Take over all that `other` holds."""
        for f in fields(self):
            setattr(self, f.name, getattr(other, f.name))

    def shifted(self, dt: float) -> Self:
        """A copy whose entries happened `dt` [s] later."""

        def later(stream: Stream) -> Stream:
            return replace(stream, start=stream.start + dt * stream.filled, end=stream.end + dt * stream.filled)

        return self._each(later)

    def picture(self, seen: Image) -> None:
        """Note what the camera saw at the last write; an entry that was merged keeps the picture it began with."""
        if not int(self.length[0]):
            return
        newest = int(self.cognitive.order[0, int(self.length[0]) - 1])
        if int(self.cognitive.count[0, newest]) == 1:
            pictures = [*self.thumbnails, *[None] * (self.cognitive.count.shape[1] - len(self.thumbnails))]
            pictures[newest] = seen
            self.thumbnails = tuple(pictures)

    def streams(self) -> dict[str, Stream]:
        """Both streams by name."""
        return {"cognitive": self.cognitive, "perceptual": self.perceptual}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, "cognitive.tokens" and so on."""
        return {
            f"{name}.{of}": tensor for name, stream in self.streams().items() for of, tensor in stream.tensors().items()
        }

    def entries(self, session: int = 0) -> list[MemoryEntry]:
        """What a session holds, oldest first, as the cognitive stream has it."""
        stream, pictures = self.cognitive, self.thumbnails if session == 0 else ()
        return [
            MemoryEntry(
                float(stream.start[session, slot]),
                float(stream.end[session, slot]),
                int(stream.count[session, slot]),
                float(stream.attention[session, slot]),
                pictures[slot] if slot < len(pictures) else None,
            )
            for slot in stream.order[session, : int(stream.length[session])].tolist()
        ]

    def save(self, path: Path) -> None:
        """Write to a safetensors file."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.tensors().items()}
        tensors |= {
            f"thumbnails.{i}": torch.from_numpy(np.array(picture))
            for i, picture in enumerate(self.thumbnails)
            if picture is not None
        }
        about = {"seed": self.seed, "step": self.step, "thumbnails": len(self.thumbnails)}
        save_file(tensors, path, metadata={"memory": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, exactly. Raises CheckpointError when it is no such file or torn."""
        try:
            with safe_open(path, "pt") as file:
                about: Mapping[str, int] = json.loads((file.metadata() or {})["memory"])
                names = list(file.keys())
                streams = {
                    name: Stream(**{f.name: file.get_tensor(f"{name}.{f.name}") for f in fields(Stream)})
                    for name in ("cognitive", "perceptual")
                }
                pictures = tuple(
                    file.get_tensor(f"thumbnails.{i}").numpy() if f"thumbnails.{i}" in names else None
                    for i in range(about["thumbnails"])
                )
                return cls(**streams, seed=about["seed"], step=about["step"], thumbnails=pictures)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise CheckpointError(f"{path} is not a saved memory: {error}") from None

    def _each(self, change: Callable[[Stream], Stream]) -> Self:
        return replace(self, cognitive=change(self.cognitive), perceptual=change(self.perceptual))
