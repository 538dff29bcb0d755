"""A published vision-language model fitted to the small networks of a policy.

What it sees and reads becomes a few tokens: learned queries, the body and the published model's own last hidden state
attend to one another and to the visual tokens of all views (a Q-Former, Li et al. 2023, BLIP-2, figure 2). The
published model stays where it was read to, the GPU when there is one; only what is trained is part of the network, and
of its checkpoints.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from policies.vlm.adapters import add_adapters
from policies.vlm.encoder import Encoded
from policies.vlm.huggingface import PROMPT, HuggingFaceEncoder, Tuning
from policies.vlm.nano import QueryLayer
from policies.vlm.prismatic import PrismaticVLM
from policies.vlm.sight import Seen, SightConfig
from policies.vlm.weights import fingerprint, folder_of
from robomem.errors import CheckpointError, SpecMismatch

READ: WeakValueDictionary[tuple[str, bytes, str], nn.Module] = WeakValueDictionary()  # frozen ones are shared


@dataclass(frozen=True)
class FittedConfig(SightConfig):
    """Sizes, and the published model at `path`, a folder or a name on the hub. An instruction is read as its bytes.

    `tuning`: what of the published model is trained, as HuggingFaceEncoder has it. Raises ValueError for weights that
    could not be trained.
    """

    path: str = field(kw_only=True)
    tuning: Tuning = "frozen"
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_targets: Sequence[str] = ()
    dtype: str = "bfloat16"
    at_once: int = 32  # moments that the published model sees together where nothing is learned
    layers: int = 2
    words: int = 240  # bytes

    def __post_init__(self) -> None:
        if self.tuning not in ("frozen", "lora", "full"):
            raise ValueError(f"tuning is '{self.tuning}', expected frozen, lora or full")
        if self.tuning == "full" and self.dtype != "float32":
            raise ValueError(f"tuning is full, which {self.dtype} would round away; expected dtype=float32")

    def read(self, instruction: str) -> list[int]:
        """Its bytes. Raises SpecMismatch when they are too many."""
        letters = instruction.encode()
        if len(letters) > self.words:
            raise SpecMismatch(f"an instruction has {len(letters)} bytes, the policy reads {self.words}: {instruction}")
        return [*letters, *[0] * (self.words - len(letters))]

    def at(self, path: str) -> Self:
        """The same with the published model at another `path`."""
        return replace(self, path=path)

    @abstractmethod
    def load(self, device: str = "cpu") -> nn.Module:
        """The published model, an Encoder. Raises CheckpointError, and ValueError for what it cannot do."""


@dataclass(frozen=True)
class FittedHuggingFaceConfig(FittedConfig):
    """An image-text model of transformers; what is said there of `prompt`, `pictures`, `bucket`, holds here."""

    prompt: str = PROMPT
    pictures: Mapping[str, Any] = field(default_factory=dict)
    bucket: int = 16

    def load(self, device: str = "cpu") -> HuggingFaceEncoder:
        """The published model."""
        return HuggingFaceEncoder(
            self.path,
            views=len(self.cameras),
            tuning=self.tuning,
            lora_rank=self.lora_rank,
            lora_alpha=self.lora_alpha,
            lora_targets=self.lora_targets,
            prompt=self.prompt,
            pictures=self.pictures,
            bucket=self.bucket,
            dtype=self.dtype,
            device=device,
        )


@dataclass(frozen=True)
class FittedPrismaticConfig(FittedConfig):
    """Upstream's encoder; `tokenizer`: a folder of its own, where none comes with the weights."""

    tokenizer: str | None = None

    def load(self, device: str = "cpu") -> PrismaticVLM:
        """The published model."""
        vlm = PrismaticVLM.from_pretrained(self.path, self.tokenizer, self.dtype, device)
        vlm.requires_grad_(self.tuning == "full")
        if self.tuning == "lora":
            language = vlm.language_model
            add_adapters(language, language, self.lora_rank, self.lora_alpha, self.lora_targets)
        return vlm.eval()


class FittedVLM(nn.Module):
    """Images, words and proprioception to perceptual tokens and one cognitive token.

    Raises CheckpointError when the published model is not there, or when weights of a network that was fitted to
    another are loaded; ValueError for what it cannot do.
    """

    def __init__(self, config: FittedConfig) -> None:
        super().__init__()
        self.config = config
        self._published, self._fingerprint = _published(config)
        tuned = {name: weight for name, weight in self.published.named_parameters() if weight.requires_grad}
        for weight in tuned.values():
            weight.data = weight.data.float()  # steps of training are too small for bfloat16
        self.tuned = nn.ParameterDict({name.replace(".", "/"): weight for name, weight in tuned.items()})
        dim = config.dim
        self.see = nn.Sequential(nn.LayerNorm(self.published.visual_dim), nn.Linear(self.published.visual_dim, dim))
        self.understand = nn.Sequential(
            nn.LayerNorm(self.published.cognitive_dim), nn.Linear(self.published.cognitive_dim, dim)
        )
        self.view = nn.Parameter(torch.randn(len(config.cameras), 1, dim) * 0.2)
        self.body = nn.Linear(config.proprio, dim)
        self.asking = nn.Parameter(torch.randn(config.tokens, dim) * 0.5)
        self.layers = nn.ModuleList(QueryLayer(dim, config.heads) for _ in range(config.layers))
        self.to_cognitive = nn.LayerNorm(dim)
        self.to_perceptual = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, config.perceptual_dim), nn.LayerNorm(config.perceptual_dim)
        )

    @property
    def published(self) -> Any:
        """The published model: no part of this network, but for what of it is trained."""
        return self._published[0]

    def forward(self, images: Tensor, words: Tensor, proprio: Tensor) -> tuple[Tensor, Tensor]:
        """Cognitive (B, 1, D) and perceptual (B, N, Dp) tokens.

        `images` (B, V, H, W, 3) uint8 in the order of `config.cameras`, `words` (B, S) bytes, `proprio` (B, P).
        """
        seen = self.grounded(images, words, proprio)
        return seen.cognitive, seen.perceptual

    def grounded(self, images: Tensor, words: Tensor, proprio: Tensor) -> Seen:
        """As `forward`: no words and no points that can be taught."""
        told = self._encode(images, [bytes(row).rstrip(b"\0").decode() for row in words.tolist()])
        grid = (self.see(told.visual.to(proprio)) + self.view).flatten(1, 2)  # (B, V * N, D)
        asking = self.asking.expand(len(grid), -1, -1)
        x = torch.cat([self.understand(told.cognitive.to(proprio)), asking, self.body(proprio).unsqueeze(1)], dim=1)
        for layer in self.layers:
            x = layer(x, grid)
        return Seen(self.to_cognitive(x[:, :1]), self.to_perceptual(x[:, 1:-1]))

    def _encode(self, images: Tensor, instructions: Sequence[str]) -> Encoded:
        """By the published model, with gradients only to what of it is trained."""
        if self.config.tuning != "frozen" and torch.is_grad_enabled():
            return self.published(images, instructions)
        size, told = self.config.at_once, []
        with torch.no_grad():
            for start in range(0, len(images), size):
                some = slice(start, start + size)
                told.append(self.published(images[some], instructions[some]))
        return Encoded(*map(torch.cat, zip(*told, strict=True)))

    def get_extra_state(self) -> Tensor:
        """Which published weights it is fitted to: 32 bytes."""
        return torch.tensor(list(self._fingerprint), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Raises CheckpointError when they are others than `state` says."""
        if bytes(state.tolist()) != self._fingerprint:
            raise CheckpointError(f"{self.config.path} holds other weights than those that the policy was fitted to")


def _published(config: FittedConfig) -> tuple[tuple[nn.Module], bytes]:
    """The published model, packed so that it becomes no part of a network, and what tells its weights apart."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        marks = fingerprint(folder_of(config.path))
        key = repr(config), marks, device
        model = READ.get(key) or config.load(device)
    except CheckpointError as error:
        get = "" if Path(config.path).is_absolute() else f"; get it with: hf download {config.path}"
        raise CheckpointError(f"{error}{get}; robomem doctor tells what is here") from None
    except ValueError as error:
        raise CheckpointError(f"{config.path} cannot be fitted: {error}") from None
    if config.tuning == "frozen":
        READ[key] = model
    return (model,), marks
