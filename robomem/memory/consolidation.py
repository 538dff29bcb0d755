"""Over capacity, the two neighbours in time that are most alike become one (MemoryVLA eq. 9)."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from robomem.memory.state import MemoryState
from robomem.types import Image


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
    slots = state.count.shape[1]
    entries = {
        "cognitive": torch.cat([state.cognitive, cognitive.unsqueeze(1)], dim=1),
        "perceptual": torch.cat([state.perceptual, perceptual.unsqueeze(1)], dim=1),
        "start": torch.cat([state.start, t.unsqueeze(1)], dim=1),
        "end": torch.cat([state.end, t.unsqueeze(1)], dim=1),
        "count": torch.cat([state.count, torch.ones_like(t).unsqueeze(1)], dim=1),
        "attention": torch.cat([state.attention, torch.zeros_like(t).unsqueeze(1)], dim=1),
    }
    with torch.no_grad():
        full = state.length == slots
        pair = likeness(entries["cognitive"], entries["perceptual"]).argmax(dim=1)
        merged = torch.where(full, pair, slots)  # (B,) slot that takes its right neighbour in
        slot = torch.arange(slots, device=t.device).expand(len(t), slots)
        source = slot + (slot > merged.unsqueeze(1)).long()
        source = torch.where(~full.unsqueeze(1) & (slot == state.length.unsqueeze(1)), slots, source)
        merging = slot == merged.unsqueeze(1)
        partner = (source + 1).clamp(max=slots)
    count = entries["count"]
    own, other = count.gather(1, source), count.gather(1, partner)
    share = other / (own + other).clamp(min=1.0)

    def averaged(tokens: Tensor) -> Tensor:
        def take(index: Tensor) -> Tensor:
            return tokens.gather(1, index[:, :, None, None].expand(-1, -1, *tokens.shape[2:]))

        kept = take(source)
        weight = share[:, :, None, None]
        return torch.where(merging[:, :, None, None], (1 - weight) * kept + weight * take(partner), kept)

    return replace(
        state,
        cognitive=averaged(entries["cognitive"]),
        perceptual=averaged(entries["perceptual"]),
        start=entries["start"].gather(1, source),
        end=torch.where(merging, entries["end"].gather(1, partner), entries["end"].gather(1, source)),
        count=own + torch.where(merging, other, torch.zeros_like(other)),
        attention=entries["attention"].gather(1, source),
        step=state.step + 1,
        thumbnails=_kept_pictures(state.thumbnails, source[0], slots),
    )


def _kept_pictures(pictures: tuple[Image | None, ...], source: Tensor, slots: int) -> tuple[Image | None, ...]:
    """The pictures of session 0 after a write; `pictures` holds the new one last, or is empty."""
    if not pictures:
        return ()
    held = len(pictures) - 1
    order = [held if int(s) == slots else int(s) for s in source[: min(held + 1, slots)]]
    return tuple(pictures[i] for i in order)
