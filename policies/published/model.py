"""MemoryVLA as it was published: Prismatic sees and reads, perceptual compression, two memory banks, and the action
expert in which the condition is a token. With upstream's weights it gives upstream's numbers.

`bank.py` and `dit.py` are what this project trains instead; `robomem/memory/compatible.py` says what they put right.
"""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from policies.action.dit import Condition
from policies.action.incontext import InContextConfig, InContextDiT
from policies.action.sampler import Sampler, SamplerConfig
from policies.vlm.compression import BottleneckSE
from policies.vlm.encoder import Encoded, Words
from policies.vlm.prismatic import PrismaticVLM
from robomem.memory.compatible import CompatibleBank
from robomem.memory.entries import Entries

Held = tuple[Entries, Entries]  # by the perceptual bank, by the cognitive bank


@dataclass(frozen=True)
class PublishedConfig:
    """Sizes after the encoder, which makes `patches` tokens of each of `views` pictures. `written`: "raw" stores what
    was seen, as all released weights were trained, "fused" what was made of it, as the paper says."""

    views: int = 1
    patches: int = 256
    slots: int = 16
    written: Literal["raw", "fused"] = "raw"
    expert: InContextConfig = field(default_factory=lambda: InContextConfig(layers=24, dim=1024, heads=16))
    sampler: SamplerConfig = field(
        default_factory=lambda: SamplerConfig(steps=10, guidance=1.5, guided=10, predicts="epsilon")
    )


class Published(nn.Module):
    """Pictures and an instruction in; chunks of normalised actions out; what was seen is in the banks' entries."""

    def __init__(self, config: PublishedConfig, encoder: PrismaticVLM) -> None:
        super().__init__()
        self.config = config
        cognitive, perceptual = config.expert.cognitive_dim, config.expert.perceptual_dim
        if encoder.cognitive_dim != cognitive:
            raise ValueError(f"the encoder's token is {encoder.cognitive_dim} wide, the expert's {cognitive}")
        self.encoder = encoder
        self.compress = BottleneckSE(encoder.visual_dim, 2 * perceptual, perceptual)
        fused = config.written == "fused"
        self.perceptual_bank = CompatibleBank(perceptual, config.views * config.patches, config.slots, fused)
        self.cognitive_bank = CompatibleBank(cognitive, 1, config.slots, fused)
        self.expert = InContextDiT(config.expert)
        self.sampler = Sampler(config.sampler)

    def empty(self, sessions: int = 1) -> Held:
        """Nothing is held yet."""
        return self.perceptual_bank.empty(sessions), self.cognitive_bank.empty(sessions)

    def step(self, images: Tensor, words: Words, held: Held, when: Tensor, noise: Tensor) -> tuple[Tensor, Held]:
        """The same from `images` (B, V, H, W, 3) uint8 and prompts that the encoder has read."""
        return self(held, self.encoder.encode(images, words), when, noise)

    def forward(self, held: Held, seen: Encoded, when: Tensor, noise: Tensor) -> tuple[Tensor, Held]:
        """Chunks (B, h, 7) for what was `seen` in B sessions, from `noise` of that shape; and what is held after.

        `when` (2, B) is how many queries came before, the banks' clock, and the time [s] that entries are dated by.

        Tensors only: on a GPU nothing here waits for a value, so that all of it can be captured in one CUDA graph.
        """
        views = self.compress(seen.visual.flatten(0, 1))  # the gate of a picture is of that picture alone
        perceptual, held_p = self.perceptual_bank(held[0], views.reshape(len(noise), -1, views.shape[-1]), *when)
        cognitive, held_c = self.cognitive_bank(held[1], seen.cognitive, *when)
        known = Condition(cognitive, perceptual, cognitive.new_zeros(len(noise), 0))
        chunks = self.sampler.denoise(self.expert, known, noise.to(cognitive.dtype))
        return chunks.float(), (held_p, held_c)
