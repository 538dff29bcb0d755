"""A policy step as CUDA graphs (torch.cuda.graphs): what a GPU was told to do once is replayed in one call, so that a
step takes no longer than its arithmetic."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor

from policies.published.model import Held, Published
from policies.vlm.encoder import Words
from robomem.memory.entries import Entries

WARM_UPS = 3  # runs before a capture: libraries choose their kernels and take their memory
TENSORS = ("tokens", "facts", "order", "alike")  # of entries

Step = Callable[[Sequence[Tensor]], Sequence[Tensor]]
Capture = Callable[[Callable[[], Sequence[Tensor]]], tuple[Callable[[], None], Sequence[Tensor]]]


def on_cuda(run: Callable[[], Sequence[Tensor]]) -> tuple[Callable[[], None], Sequence[Tensor]]:
    """What replays `run`, and where it then leaves its results."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run()
    return graph.replay, results


def compile_blocks(model: Published) -> None:
    """Compile, in place, the layers that repeat (torch.compile): one compilation serves all of a kind, and fewer and
    larger kernels are left to be captured."""
    towers = model.encoder.vision_backbone
    stacks = towers.dino_featurizer.blocks, towers.siglip_featurizer.blocks, model.encoder.language_model.layers
    for layer in chain(*stacks, model.expert.blocks):
        layer.compile(dynamic=False)


class Graphs:
    """A function of tensors, captured once for every combination of their shapes."""

    def __init__(self, step: Step, capture: Capture = on_cuda) -> None:
        self.step, self.capture = step, capture
        self._kept: dict[tuple[torch.Size, ...], tuple[list[Tensor], Callable[[], None], Sequence[Tensor]]] = {}

    def __call__(self, given: Sequence[Tensor]) -> list[Tensor]:
        """What the function returns for `given`; tensors of its own, which the next call leaves as they are."""
        shapes = tuple(tensor.shape for tensor in given)
        if shapes not in self._kept:
            read = [tensor.clone() for tensor in given]
            self._kept[shapes] = (read, *self.capture(lambda: self.step(read)))
        read, replay, results = self._kept[shapes]
        for at, tensor in zip(read, given, strict=True):
            at.copy_(tensor)
        replay()
        return [result.clone() for result in results]


class CapturedStep:
    """`Published.step`, replayed. A new length of prompt or number of sessions is captured when it first occurs."""

    def __init__(self, model: Published, capture: Capture = on_cuda) -> None:
        self.model, self.graphs = model, Graphs(self._step, capture)

    def __call__(self, images: Tensor, words: Words, held: Held, when: Tensor, noise: Tensor) -> tuple[Tensor, Held]:
        """As `Published.step`."""
        entries = [getattr(bank, name) for bank in held for name in TENSORS]
        chunks, *after = self.graphs([images, *words, when, noise, *entries])
        return chunks, self._held(iter(after))

    def _step(self, given: Sequence[Tensor]) -> list[Tensor]:
        images, numbers, last, when, noise, *entries = given
        chunks, held = self.model.step(images, Words(numbers, last), self._held(iter(entries)), when, noise)
        return [chunks, *(getattr(bank, name) for bank in held for name in TENSORS)]

    def _held(self, tensors: Iterator[Tensor]) -> Held:
        banks = self.model.perceptual_bank, self.model.cognitive_bank
        first, second = (Entries(((bank.tokens, bank.dim),), (), *(next(tensors) for _ in TENSORS)) for bank in banks)
        return first, second
