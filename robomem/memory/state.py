"""The memory of one or more episodes as a plain value."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from robomem.errors import CheckpointError, InvalidChunk
from robomem.memory.entries import Entries
from robomem.types import ActionChunk, Image

CHUNK_ARRAYS = ("t", "values", "gripper")


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
    """What is remembered of B sessions, in one bank or in several that merge apart.

    `seed` and `step` fix the sampling noise. `running` is what was last promised to do, in session 0, and `delay_s` [s]
    how long after an observation its chunk takes over, as who runs the policy knows it: a new chunk can join the old.
    """

    banks: tuple[Entries, ...]
    seed: int = 0
    step: int = 0
    thumbnails: tuple[Image | None, ...] = ()  # one a slot of the first bank, session 0; None of one never filled
    running: ActionChunk | None = None
    delay_s: float = 0.0

    @property
    def length(self) -> Tensor:
        """Entries held in the first bank, (B,)."""
        return self.banks[0].length

    def reset(self) -> None:
        """Forget everything; the noise starts again as well."""
        self.banks = tuple(held.forgotten() for held in self.banks)
        self.step, self.thumbnails, self.running = 0, (), None

    def fork(self) -> Self:
        """An independent copy."""
        return replace(self)

    def detach(self) -> Self:
        """A copy through which no gradient flows."""
        return replace(self, banks=tuple(held.each(Tensor.detach) for held in self.banks))

    def first(self, sessions: int) -> Self:
        """A copy of the first `sessions`."""
        return replace(self, banks=tuple(held.each(lambda tensor: tensor[:sessions]) for held in self.banks))

    def become(self, other: Self) -> None:
        """Take over all that `other` holds."""
        for f in fields(self):
            setattr(self, f.name, getattr(other, f.name))

    def shifted(self, dt: float) -> Self:
        """A copy of what happened, and was promised, `dt` [s] later."""
        running = self.running and replace(self.running, t=self.running.t + dt)
        return replace(self, banks=tuple(held.shifted(dt) for held in self.banks), running=running)

    def picture(self, seen: Image) -> None:
        """Note what the camera saw at the last write; an entry that was merged keeps the picture it began with."""
        held, length = self.banks[0], int(self.length[0])
        newest = int(held.order[0, max(length - 1, 0)])
        if int(held.count[0, newest]) == 1:
            pictures = [*self.thumbnails, *[None] * (held.slots - len(self.thumbnails))]
            pictures[newest] = seen
            self.thumbnails = tuple(pictures)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, "0.start" and so on."""
        return {f"{k}.{name}": tensor for k, held in enumerate(self.banks) for name, tensor in held.tensors().items()}

    def entries(self, session: int = 0) -> list[MemoryEntry]:
        """What the first bank holds of a session, oldest first."""
        held, pictures = self.banks[0], self.thumbnails if session == 0 else ()
        return [
            MemoryEntry(
                float(held.start[session, slot]),
                float(held.end[session, slot]),
                int(held.count[session, slot]),
                float(held.attention[session, slot]),
                pictures[slot] if slot < len(pictures) else None,
            )
            for slot in held.order[session, : int(held.length[session])].tolist()
        ]

    def save(self, path: Path) -> None:
        """Write to a safetensors file."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.tensors().items()}
        tensors |= {
            f"thumbnails.{i}": torch.from_numpy(np.array(picture))
            for i, picture in enumerate(self.thumbnails)
            if picture is not None
        }
        about: dict[str, Any] = {"seed": self.seed, "step": self.step, "thumbnails": len(self.thumbnails)}
        about |= {"banks": [(held.sizes, held.derived) for held in self.banks], "delay_s": self.delay_s}
        if (chunk := self.running) is not None:
            about |= {"running": {"space": chunk.space, "context_version": chunk.context_version}}
            tensors |= {f"running.{name}": torch.from_numpy(np.array(getattr(chunk, name))) for name in CHUNK_ARRAYS}
        save_file(tensors, path, metadata={"memory": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, exactly. Raises CheckpointError when it is no such file or torn."""
        try:
            with safe_open(path, "pt") as file:
                about: Mapping[str, Any] = json.loads((file.metadata() or {})["memory"])
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
                pictures = [tensors.pop(f"thumbnails.{slot}", None) for slot in range(about["thumbnails"])]
                banks = tuple(
                    Entries(tuple(map(tuple, sizes)), tuple(map(tuple, derived)), **within(tensors, f"{k}."))
                    for k, (sizes, derived) in enumerate(about["banks"])
                )
                thumbnails = tuple(None if picture is None else picture.numpy() for picture in pictures)
                running = None
                if "running" in about:
                    arrays = {name: tensors[f"running.{name}"].numpy() for name in CHUNK_ARRAYS}
                    running = ActionChunk(**arrays, **about["running"])
                return cls(banks, about["seed"], about["step"], thumbnails, running, about.get("delay_s", 0.0))
        except (SafetensorError, InvalidChunk, KeyError, TypeError, ValueError, OSError) as error:
            raise CheckpointError(f"{path} is not a saved memory: {error}") from None


def within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose name starts with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
