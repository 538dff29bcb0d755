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
    too_few = state.step < state.count.shape[1]  # steps to have filled any session
    changes = _appended(state, entry) if too_few else _consolidated(state, entry)
    return replace(state, step=state.step + 1, **changes)


def _appended(state: MemoryState, entry: dict[str, Tensor]) -> dict[str, Any]:
    """The entry goes to the first empty slot of every session."""
    empty = torch.arange(state.count.shape[1], device=state.count.device) == state.length.unsqueeze(1)
    return {
        name: torch.where(_like(empty, tensor), entry[name].unsqueeze(1), tensor)
        for name, tensor in state.tensors().items()
    }


def _consolidated(state: MemoryState, entry: dict[str, Tensor]) -> dict[str, Any]:
    """The entry goes to the first empty slot, or to the last after two neighbours have become one."""
    slots = state.count.shape[1]
    slot = torch.arange(slots, device=state.count.device)
    with torch.no_grad():
        streams = (torch.cat([getattr(state, name), entry[name].unsqueeze(1)], dim=1) for name in STREAMS)
        full = state.length == slots
        merged = torch.where(full, likeness(*streams).argmax(dim=1), slots).unsqueeze(1)  # takes its neighbour in
        source = slot + (slot > merged).long()
        source = torch.where(~full.unsqueeze(1) & (slot == state.length.unsqueeze(1)), slots, source)
        merging, partner = slot == merged, (merged + 1).clamp(max=slots)

    def taken(name: str, index: Tensor) -> Tensor:
        """Entries (B, K, ...) at `index` (B, K), where `slots` is the new one."""
        held = getattr(state, name)
        where = _like(index.clamp(max=slots - 1), held).expand(-1, -1, *held.shape[2:])
        return torch.where(_like(index == slots, held), entry[name].unsqueeze(1), held.gather(1, where))

    kept = {name: taken(name, source) for name in entry}
    other = {name: taken(name, partner) for name in (*STREAMS, "end", "count")}
    share = other["count"] / (kept["count"] + other["count"]).clamp(min=1.0)
    for name in STREAMS:
        weight, here = _like(share, kept[name]), _like(merging, kept[name])
        kept[name] = torch.where(here, (1 - weight) * kept[name] + weight * other[name], kept[name])
    kept["end"] = torch.where(merging, other["end"], kept["end"])
    kept["count"] = torch.where(merging, kept["count"] + other["count"], kept["count"])
    return {**kept, "thumbnails": _kept_pictures(state.thumbnails, source[0], slots)}


def _like(values: Tensor, tensor: Tensor) -> Tensor:
    """`values` (B, K) with as many dimensions as `tensor`."""
    return values.view(*values.shape, *[1] * (tensor.dim() - 2))


def _kept_pictures(pictures: tuple[Image | None, ...], source: Tensor, slots: int) -> tuple[Image | None, ...]:
    """The pictures of session 0 after a write; `pictures` holds the new one last, or is empty."""
    if not pictures:
        return ()
    held = len(pictures) - 1
    order = [held if int(s) == slots else int(s) for s in source[: min(held + 1, slots)]]
    return tuple(pictures[i] for i in order)
