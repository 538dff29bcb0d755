"""Upstream's encoder (Prismatic, Karamcheti et al. 2024): DINOv2 and SigLIP see, Llama reads. Names of weights are
upstream's.

What is never used is not held: the language model's head, and what a vision transformer has above its second-to-last
block. Weights of those names are passed over.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.vlm.encoder import Encoded, Words, at_last, check_inputs, pad_rows, without_signs
from policies.vlm.weights import folder_of, read_weights
from robomem.errors import CheckpointError

DINO, SIGLIP = "vit_large_patch14_reg4_dinov2", "vit_so400m_patch14_siglip_224"  # timm's names
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and spread that DINOv2 was trained with
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # the same of SigLIP
LLAMA = {"vocab_size": 32064, "rms_norm_eps": 1e-5, "max_position_embeddings": 4096}  # the rest is Llama-2-7B's
PROMPT = "In: What action should the robot take to {}?\nOut:"
FORMAT = "robomem prismatic 1"
OPENVLA = (  # its names of weights on the hub, and upstream's
    (r"^vision_backbone\.featurizer\.(.*)", r"vision_backbone.dino_featurizer.\1"),
    (r"^vision_backbone\.fused_featurizer\.(.*)", r"vision_backbone.siglip_featurizer.\1"),
    (r"(.*)\.scale_factor$", r"\1.gamma"),
    (r"^projector\.fc1\.(.*)", r"projector.projector.0.\1"),
    (r"^projector\.fc2\.(.*)", r"projector.projector.2.\1"),
    (r"^projector\.fc3\.(.*)", r"projector.projector.4.\1"),
    (r"^language_model\.(.*)", r"llm_backbone.llm.\1"),
)


@dataclass(frozen=True)
class PrismaticConfig:
    """Sizes. `dino`, `siglip` and `llm` say what differs from the published ones, in the words of timm and of
    transformers' LlamaConfig. `ending`: token numbers after the prompt, of Llama-2 an empty word and the end."""

    image_size: int = 224
    dino: Mapping[str, Any] = field(default_factory=dict)
    siglip: Mapping[str, Any] = field(default_factory=dict)
    llm: Mapping[str, Any] = field(default_factory=dict)
    ending: tuple[int, ...] = (29871, 2)
    bucket: int = 16  # prompts are padded to a multiple of so many tokens


@lru_cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """(C, 1, 1) on `device`; no buffer, which would lose digits when the network becomes bfloat16."""
    return torch.tensor(values, device=device).view(-1, 1, 1)


def resized(images: Tensor, size: int) -> Tensor:
    """Pictures (B, H, W, 3) uint8 as (B, 3, `size`, `size`) levels 0..255, whatever their proportions ("naive"), as
    Pillow's bicubic filter gives them: rows first, and rounded after rows and after columns."""
    x = images.permute(0, 3, 1, 2).float()
    for shape in ((x.shape[2], size), (size, size)):
        if x.shape[2:] != shape:
            x = functional.interpolate(x, size=shape, mode="bicubic", antialias=True).round().clamp(0, 255)
    return x


def normalized(x: Tensor, of: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """Levels 0..255 as a network that was trained with the mean and spread `of` wants them."""
    mean, spread = (constant(values, x.device) for values in of)
    return (x / 255 - mean) / spread


class VisionBackbone(nn.Module):
    """Two vision transformers, their tokens side by side."""

    def __init__(self, config: PrismaticConfig) -> None:
        import timm  # late: takes a second

        super().__init__()
        made: dict[str, Any] = {"pretrained": False, "num_classes": 0, "img_size": config.image_size}
        self.dino_featurizer = timm.create_model(DINO, **made, **config.dino)
        self.siglip_featurizer = timm.create_model(SIGLIP, **made, **config.siglip)
        for tower in (self.dino_featurizer, self.siglip_featurizer):
            tower.prune_intermediate_layers([len(tower.blocks) - 2], prune_norm=True, prune_head=True)
        self.dim = self.dino_featurizer.embed_dim + self.siglip_featurizer.embed_dim

    def forward(self, levels: Tensor) -> Tensor:
        """Tokens (B, N, D) of pictures (B, 3, S, S) of levels 0..255."""
        dtype = self.dino_featurizer.patch_embed.proj.weight.dtype
        seen = []
        for tower, of in ((self.dino_featurizer, IMAGENET), (self.siglip_featurizer, HALF)):
            (tokens,) = tower.forward_intermediates(
                normalized(levels, of).to(dtype), [-1], output_fmt="NLC", intermediates_only=True
            )
            seen.append(tokens)
        return torch.cat(seen, dim=-1)


class Projector(nn.Module):
    """From what is seen to the width of the language model."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.projector = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, dim), nn.GELU(), nn.Linear(dim, dim)
        )

    def forward(self, visual: Tensor) -> Tensor:
        """(..., `width`) to (..., `dim`)."""
        told: Tensor = self.projector(visual)
        return told


class PrismaticVLM(nn.Module):
    """The encoder; `tokenizer` is what transformers' AutoTokenizer gives, Llama-2's for published weights."""

    def __init__(self, config: PrismaticConfig, tokenizer: Any) -> None:
        from transformers import LlamaConfig, LlamaModel  # late: takes a second

        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.vision_backbone = VisionBackbone(config)
        llama = LlamaModel(LlamaConfig(**LLAMA | dict(config.llm), use_cache=False))
        self.visual_dim, self.cognitive_dim = self.vision_backbone.dim, llama.config.hidden_size
        self.projector = Projector(self.visual_dim, self.cognitive_dim)
        self.llm_backbone = nn.ModuleDict({"llm": nn.ModuleDict({"model": llama})})
        self.register_load_state_dict_pre_hook(_pass_over_unused)
        if (begins := tokenizer("a").input_ids[0]) != tokenizer.bos_token_id:
            raise ValueError(f"the tokenizer begins with {begins}, expected its bos_token {tokenizer.bos_token_id}")

    @property
    def language_model(self) -> nn.Module:
        """Llama, without a head."""
        llm: nn.Module = self.llm_backbone["llm"]["model"]  # type: ignore[index]
        return llm

    def forward(self, images: Tensor, instructions: Sequence[str]) -> Encoded:
        """Tokens of `images` (B, V, H, W, 3) uint8 and one instruction each."""
        check_inputs(images, instructions)
        return self.encode(images.to(self.device), self.words(instructions))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def words(self, instructions: Sequence[str]) -> Words:
        """The prompts, as upstream's `predict_action` writes them.

        Raises ValueError when an instruction holds a sign of the model's own.
        """
        plain = [without_signs(instruction, self.tokenizer) for instruction in instructions]
        prompts = [PROMPT.format(instruction.lower()) for instruction in plain]
        words = pad_rows(
            [[*self.tokenizer(text).input_ids, *self.config.ending] for text in prompts], self.config.bucket
        )
        return words.to(self.device)

    def encode(self, images: Tensor, words: Words) -> Encoded:
        """The same of prompts already read: no waiting for the device, and shapes that only depend on shapes."""
        from transformers import DynamicCache

        levels = resized(images.flatten(0, 1), self.config.image_size)
        visual = self.vision_backbone(levels).unflatten(0, images.shape[:2])  # (B, V, N, Dv)
        seen = self.projector(visual).flatten(1, 2)
        said = self.language_model.get_input_embeddings()(words.numbers)
        sequence = torch.cat([said[:, :1], seen, said[:, 1:]], dim=1)
        # no mask: what pads a prompt comes after all that is read. A cache, though nothing is read from it: without one
        # transformers looks for packed sequences, and waits for the device
        past = None if torch.is_grad_enabled() else DynamicCache()
        hidden = self.language_model(inputs_embeds=sequence, past_key_values=past, use_cache=False).last_hidden_state
        return Encoded(at_last(hidden, words.last + seen.shape[1]), visual)

    def save_pretrained(self, folder: str | Path) -> None:
        """Weights, sizes and tokenizer."""
        from huggingface_hub import save_torch_state_dict

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_torch_state_dict(self.state_dict(), folder)
        about = {"format": FORMAT, **asdict(self.config)}
        (folder / "config.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def from_pretrained(
        cls, path: str, tokenizer: str | None = None, dtype: str = "bfloat16", device: str = "cpu"
    ) -> "PrismaticVLM":
        """What `save_pretrained` wrote, or an OpenVLA in a folder or on the hub; `tokenizer`: a folder of its own.

        Raises CheckpointError.
        """
        from accelerate import init_empty_weights
        from transformers import AutoTokenizer

        folder, kind = folder_of(path), getattr(torch, dtype)
        config = read_config(folder)
        weights = {name: weight.to(kind) for name, weight in renamed(read_weights(folder)).items()}
        with init_empty_weights(include_buffers=False):
            vlm = cls(config, AutoTokenizer.from_pretrained(tokenizer or folder))
        try:
            vlm.load_state_dict(weights, assign=True)
        except RuntimeError as error:  # its lines name every weight
            raise CheckpointError(f"{folder} holds the weights of another network") from error
        return vlm.to(device)  # rates of rotary positions are no weights: rounded, they would be others


def read_config(folder: Path) -> PrismaticConfig:
    """Sizes of what `save_pretrained` wrote, or of an OpenVLA. Raises CheckpointError."""
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if about.get("model_type") in ("openvla", "prismatic"):
            return _openvla_config(about)
        if about.pop("format", None) != FORMAT:
            raise CheckpointError(f"{folder} is no Prismatic encoder")
        return PrismaticConfig(**about | {"ending": tuple(about["ending"])})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} is no Prismatic encoder: {error}") from None


def _openvla_config(about: Mapping[str, Any]) -> PrismaticConfig:
    towers = [name.split(".")[0] for name in about["timm_model_ids"]]
    if towers != [DINO, SIGLIP] or not about["arch_specifier"].endswith("fused-gelu-mlp"):
        raise ValueError(f"its towers are {towers} and its projector is {about['arch_specifier']}")
    # what its norms divide by was lost when it was published: it is that of the Llama-2 it was trained from
    told = {name: value for name, value in about["text_config"].items() if name != "rms_norm_eps"}
    return PrismaticConfig(image_size=about["image_sizes"][0], llm=told)


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenVLA's names of weights as upstream's; those are left alone."""
    return {_renamed(name): tensor for name, tensor in weights.items()}


def _renamed(name: str) -> str:
    for pattern, upstream in OPENVLA:
        name = re.sub(pattern, upstream, name)
    return name


def _pass_over_unused(vlm: PrismaticVLM, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
    unused = [f"{prefix}llm_backbone.llm.lm_head."]
    for name, tower in vlm.vision_backbone.named_children():
        above = f"blocks.{len(tower.blocks)}."  # type: ignore[arg-type]
        unused += [f"{prefix}vision_backbone.{name}.{part}" for part in (above, "norm.", "fc_norm.", "attn_pool.")]
    for name in [name for name in weights if name.startswith(tuple(unused))]:
        del weights[name]
