"""Over capacity, the two neighbours in time that are most alike become one (MemoryVLA eq. 9)."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from robomem.memory.state import MemoryState
from robomem.types import Image

STREAMS = ("cognitive", "perceptual")


def likeness(cognitive: Tensor, perceptual: Tensor) -> Tensor:
    """How alike neighbours in time are, (B, S - 1), for entries (B, S, 1, Dc) and (B, S, N, Dp).

    Cosine, averaged over the tokens of a stream and then over the two streams: one decision for both, so that they
    stay aligned in time.
    """
    pairs = [
        functional.cosine_similarity(stream[:, :-1], stream[:, 1:], dim=-1).mean(dim=-1)
        for stream in (cognitive, perceptual)
    ]
    return torch.stack(pairs).mean(dim=0)


def write(state: MemoryState, cognitive: Tensor, perceptual: Tensor, t: Tensor) -> MemoryState:
    """`state` with one more entry, tokens (B, 1, Dc) and (B, N, Dp) seen at `t` (B,) [s].

    A full session first merges its most alike neighbours, the new entry among them: tokens are averaged by count, the
    time interval is the union, counts add up. Gradients flow into everything kept.
    """
    entry = {"cognitive": cognitive, "perceptual": perceptual, "start": t, "end": t}
    entry |= {"count": torch.ones_like(t), "attention": torch.zeros_like(t)}
    held = {name: torch.cat([tensor, entry[name].unsqueeze(1)], dim=1) for name, tensor in state.tensors().items()}
    first, last = _taken(state, held)
    number = torch.arange(held["count"].shape[1], device=t.device)
    taken = ((first.unsqueeze(-1) <= number) & (number <= last.unsqueeze(-1))).to(t.dtype)  # (B, L, L + 1)
    sums = {name: (taken @ held[name].unsqueeze(-1)).squeeze(-1) for name in ("count", "attention")}
    share = taken * held["count"].unsqueeze(1) / sums["count"].clamp(min=1.0).unsqueeze(-1)
    changes: dict[str, Any] = {name: (share @ held[name].flatten(2)).view_as(getattr(state, name)) for name in STREAMS}
    changes |= {"start": held["start"].gather(1, first), "end": held["end"].gather(1, last), **sums}
    pictures = _kept_pictures(state.thumbnails, first[0], state.count.shape[1])
    return replace(state, step=state.step + 1, thumbnails=pictures, **changes)


@torch.no_grad()
def _taken(state: MemoryState, held: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What each slot takes of the L + 1 entries `held`, from the first to the last, both (B, L).

    In a session that is not full, the first empty slot takes the new entry; in a full one, one slot takes two.
    """
    slots = state.count.shape[1]
    slot = torch.arange(slots, device=state.count.device).expand_as(state.count)
    length = state.length.unsqueeze(1)
    appended = torch.where(slot == length, slots, slot)
    if state.step < slots:  # too few steps to have filled any session
        return appended, appended
    merged = likeness(held["cognitive"], held["perceptual"]).argmax(dim=1, keepdim=True)
    first = torch.where(length == slots, slot + (slot > merged).long(), appended)
    last = torch.where(length == slots, slot + (slot >= merged).long(), appended)
    return first, last


def _kept_pictures(pictures: tuple[Image | None, ...], source: Tensor, slots: int) -> tuple[Image | None, ...]:
    """The pictures of session 0 after a write, slot k taking the `source[k]`-th; `pictures` holds the new one last."""
    if not pictures:
        return ()
    held = len(pictures) - 1
    order = [held if int(s) == slots else int(s) for s in source[: min(held + 1, slots)]]
    return tuple(pictures[i] for i in order)
