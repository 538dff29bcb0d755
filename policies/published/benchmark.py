"""What `robomem bench published` times: the published network at its sizes, weights drawn where they are used. Nothing
is read, so no weights are needed to know how fast they would be."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from policies.action.incontext import InContextConfig
from policies.memoryvla.benchmark import Contest
from policies.memoryvla.plain import Entry, Expert, compress, denoise, keep, remember
from policies.published.actions import ActionRange
from policies.published.capture import CapturedStep, compile_blocks
from policies.published.checkpoint import DTYPES, Description
from policies.published.model import Held, Published, PublishedConfig
from policies.published.policy import Deployment, PublishedPolicy
from policies.vlm.prismatic import PrismaticConfig
from robomem.interfaces import Kinematics
from robomem.report.roofline import Work

FAN_OF_VECTORS = 16  # what biases and norms are drawn for
CLOSE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}  # what rounding in ten steps comes to


class Numbers(NamedTuple):
    """What a tokenizer answers."""

    input_ids: list[int]


class WordNumbers:
    """Stands for a tokenizer where only the length of a prompt counts: a number a word."""

    bos_token_id = 1
    added_tokens_decoder: Mapping[int, Any] = MappingProxyType({})  # it has no signs of its own

    def __call__(self, text: str) -> Numbers:
        """The beginning, then the words of `text`."""
        return Numbers([self.bos_token_id, *range(2, 2 + len(text.split()))])


def random_policy(
    kinematics: Kinematics,
    encoder: Mapping[str, Any],
    expert: Mapping[str, int],
    patches: int,
    slots: int,
    image_size: int,
    dtype: str,
    device: str | None,
    compiled: bool,
    graphs: bool,
    path: None = None,
    seed: int = 0,
) -> PublishedPolicy:
    """One camera's policy of the sizes given, with weights that let every layer show and none that was trained."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = random_model(encoder, expert, patches, slots, dtype, device, seed)
    unit = ActionRange((-1.0,) * 7, (1.0,) * 7, (True,) * 6 + (False,))
    executed = model.config.expert.horizon // 2
    deployment = Deployment(image_size=image_size, executed=executed, compiled=compiled, graphs=graphs)
    return PublishedPolicy(model, unit, deployment, kinematics)


def random_model(
    encoder: Mapping[str, Any],
    expert: Mapping[str, int],
    patches: int,
    slots: int,
    dtype: str,
    device: str,
    seed: int,
) -> Published:
    """The network of `random_policy`."""
    config = PublishedConfig(patches=patches, slots=slots, expert=InContextConfig(**expert))
    model = Description(config, PrismaticConfig(**encoder), {}, {}).build(WordNumbers())
    drawn = torch.Generator(device).manual_seed(seed)
    weights = {}
    for name, weight in model.state_dict().items():
        fan = weight.shape[1:].numel() if weight.dim() > 1 else FAN_OF_VECTORS
        weights[name] = torch.empty(weight.shape, dtype=DTYPES[dtype], device=device)
        weights[name].normal_(std=fan**-0.5, generator=drawn)
    model.load_state_dict(weights, assign=True)
    return model.to(device).eval().requires_grad_(False)


def step(
    encoder: Mapping[str, Any],
    expert: Mapping[str, int],
    patches: int,
    slots: int,
    image_size: int,
    words: int,
    dtype: str,
    compiled: bool,
    seed: int,
) -> Contest:
    """One step with full banks, one picture and an instruction of so many `words`.

    "plain" computes memory and chunk as upstream's modules do, nothing kept; "eager" is ours as Python calls it, "ours"
    with its repeated layers `compiled`, or not, and on a GPU replayed from CUDA graphs.
    """
    device = torch.get_default_device().type
    model = random_model(encoder, expert, patches, slots, dtype, device, seed)
    read = model.encoder.words([" ".join(["push"] * words)])
    shape = 1, model.config.expert.horizon, model.config.expert.action_dim
    banks = model.perceptual_bank, model.cognitive_bank
    with torch.inference_mode():
        images = torch.randint(0, 256, (slots + 1, 1, 1, image_size, image_size, 3), dtype=torch.uint8)
        noise, held, kept = torch.randn(shape), model.empty(), ([], [])
        for number in range(slots):
            seen = model.encoder.encode(images[number], read)
            tokens = model.compress(seen.visual.flatten(0, 1)), seen.cognitive
            at = torch.tensor([float(number)])
            held = tuple(bank.keep(of_it, x, at) for bank, of_it, x in zip(banks, held, tokens, strict=True))
            for entries, x in zip(kept, tokens, strict=True):
                entries.append(Entry(number, x[0]))
    now, when = images[slots], torch.full((2, 1), float(slots))
    net = Expert(model.expert.state_dict(), model.config.expert.layers, model.config.expert.heads)
    weights = [bank.state_dict() for bank in banks]
    sampler = model.config.sampler

    def plain() -> Tensor:
        seen = model.encoder.encode(now, read)
        tokens = compress(model.compress.state_dict(), seen.visual[0, 0]), seen.cognitive[0]
        fused = [remember(of_bank, entries, x) for of_bank, entries, x in zip(weights, kept, tokens, strict=True)]
        for entries, x in zip(kept, tokens, strict=True):
            keep(entries, Entry(slots, x), slots)
        told = fused[1][None], fused[0][None]
        return denoise(net, noise.to(told[0].dtype), *told, sampler.steps, sampler.guidance)

    def once(take: Callable[..., tuple[Tensor, Held]]) -> Callable[[], Tensor]:
        return torch.inference_mode()(lambda: take(now, read, held, when, noise)[0])

    if compiled:
        compile_blocks(model)
    ours = CapturedStep(model) if device == "cuda" else model.step
    ways = {
        "plain": uncompiled(torch.inference_mode()(plain)),
        "eager": uncompiled(once(model.step)),
        "ours": once(ours),
    }
    return Contest(ways, works(model, 1 + patches + words), CLOSE[dtype])


def uncompiled(way: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The same, with what was compiled called as it was written."""

    def run() -> Tensor:
        with torch.compiler.set_stance("force_eager"):
            return way()

    return run


def works(model: Published, tokens: int) -> list[Work]:
    """What a step must read at least: the towers, the language model over `tokens`, the cognitive bank, the expert at
    every denoising step."""
    see, patches = model.encoder.vision_backbone, model.config.patches
    sizes = {
        part: sum(weight.numel() for weight in weights.parameters())
        for part, weights in {
            "dino": see.dino_featurizer,
            "siglip": see.siglip_featurizer,
            "language": model.encoder.llm_backbone.llm.model.layers,
            "cognitive": model.cognitive_bank,
            "expert": model.expert.blocks,
        }.items()
    }
    each = next(model.parameters()).element_size()
    rows = {"dino": patches, "siglip": patches, "language": tokens, "cognitive": 1}
    chunk = 2 * (model.config.expert.horizon + 1)
    return [
        *(Work(sizes[part], n, bytes_each=each) for part, n in rows.items()),
        Work(sizes["expert"], chunk, model.config.sampler.steps, each),
    ]
