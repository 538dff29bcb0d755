"""The memory of one or more episodes as a plain value."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from robomem.errors import CheckpointError
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
    """What is remembered. B sessions, L slots a session, filled from slot 0 in order of time; empty slots count 0.

    The tensors are never written in place, so a fork shares them safely. `seed` and `step` fix the sampling noise.
    """

    cognitive: Tensor  # (B, L, 1, Dc)
    perceptual: Tensor  # (B, L, N, Dp)
    start: Tensor  # (B, L) [s] first step an entry stands for
    end: Tensor  # (B, L) [s] last step an entry stands for
    count: Tensor  # (B, L) steps merged into an entry, 0: empty slot
    attention: Tensor  # (B, L) share of the last read
    seed: int = 0
    step: int = 0
    thumbnails: tuple[Image | None, ...] = field(default=())  # one an entry, session 0

    @classmethod
    def empty(
        cls,
        sessions: int,
        slots: int,
        tokens: int,
        perceptual_dim: int,
        cognitive_dim: int,
        seed: int = 0,
        device: torch.device | None = None,
    ) -> Self:
        """A memory that holds nothing yet."""
        start, end, count, attention = torch.zeros(4, sessions, slots, device=device).unbind()
        cognitive = torch.zeros(sessions, slots, 1, cognitive_dim, device=device)
        perceptual = torch.zeros(sessions, slots, tokens, perceptual_dim, device=device)
        return cls(cognitive, perceptual, start, end, count, attention, seed=seed)

    @property
    def length(self) -> Tensor:
        """Entries held, (B,)."""
        return (self.count > 0).sum(dim=1)

    def reset(self) -> None:
        """Forget everything; the noise starts again as well."""
        for name, tensor in self.tensors().items():
            setattr(self, name, torch.zeros_like(tensor))
        self.step, self.thumbnails = 0, ()

    def fork(self) -> Self:
        """An independent copy."""
        return replace(self)

    def detach(self) -> Self:
        """A copy through which no gradient flows."""
        return self._with({name: tensor.detach() for name, tensor in self.tensors().items()})

    def first(self, sessions: int) -> Self:
        """A copy of the first `sessions`."""
        return self._with({name: tensor[:sessions] for name, tensor in self.tensors().items()})

    def become(self, other: Self) -> None:
        """Take over all that `other` holds."""
        for f in fields(self):
            setattr(self, f.name, getattr(other, f.name))

    def shifted(self, dt: float) -> Self:
        """A copy whose entries happened `dt` [s] later."""
        held = self.count > 0
        return replace(self, start=self.start + dt * held, end=self.end + dt * held)

    def _with(self, changes: dict[str, Any]) -> Self:
        return replace(self, **changes)

    def tensors(self) -> dict[str, Tensor]:
        """The tensor fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}

    def entries(self, session: int = 0) -> list[MemoryEntry]:
        """What a session holds, oldest first."""
        held = int(self.length[session])
        pictures = self.thumbnails if session == 0 else ()
        return [
            MemoryEntry(
                float(self.start[session, slot]),
                float(self.end[session, slot]),
                int(self.count[session, slot]),
                float(self.attention[session, slot]),
                pictures[slot] if slot < len(pictures) else None,
            )
            for slot in range(held)
        ]

    def save(self, path: Path) -> None:
        """Write to a safetensors file."""
        tensors = {name: tensor.detach().contiguous() for name, tensor in self.tensors().items()}
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
                tensors = {name: file.get_tensor(name) for name in names if "." not in name}
                pictures = tuple(
                    file.get_tensor(f"thumbnails.{i}").numpy() if f"thumbnails.{i}" in names else None
                    for i in range(about["thumbnails"])
                )
                return cls(**tensors, seed=about["seed"], step=about["step"], thumbnails=pictures)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise CheckpointError(f"{path} is not a saved memory: {error}") from None
