"""Turns a checkpoint of MemoryVLA's released code into ours, weight by weight."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from policies.action.incontext import InContextConfig
from policies.published.actions import ActionRange
from policies.published.checkpoint import DTYPES, TOKENIZER, Description, read_tokenizer, save_tokenizer
from policies.published.model import Published, PublishedConfig
from policies.published.upstream import Progress, our_name, read_checkpoint, read_json, upstream_name
from policies.vlm.prismatic import PrismaticConfig
from robomem.errors import CheckpointError, UnknownName
from robomem.learn.checkpoints import write_safetensors

SHOWN = 5  # names in a message
PATCH = 14  # px, side of what becomes a visual token
WIDTH = 4096  # of Llama-2-7B
FIXED = {  # settings of upstream's training that change the network, and the one value that is built here
    "action_dim": 7,
    "retrieval_layers": 2,
    "use_timestep_pe": True,
    "fusion_type": "gate",
    "consolidate_type": "tome",
}


def convert(
    upstream: Path,
    path: Path,
    dtype: str,
    tokenizer: str,
    encoder: Mapping[str, Any],
    experts: Mapping[str, Mapping[str, int]],
    made_by: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Writes to `path` the weights in `upstream`, a checkpoint in its run folder, as `dtype`, and beside it the
    `tokenizer`; in numbers, what was written.

    `encoder` and `experts` are the sizes that weights do not tell, the latter by upstream's name of the action expert.
    Raises CheckpointError when it is no such checkpoint, is damaged or belongs to another network.
    """
    if dtype not in DTYPES:
        raise UnknownName("dtype", dtype, DTYPES)
    if not upstream.is_file():
        raise CheckpointError(f"no checkpoint at {upstream}")
    run = upstream.absolute().parent.parent
    ranges = {name: ActionRange.of(told) for name, told in read_json(run / "dataset_statistics.json").items()}
    seeing = PrismaticConfig(**encoder)
    config = config_of(read_json(run / "config.json"), seeing, experts)
    description = Description(config, seeing, ranges, {"upstream": upstream.name, **made_by})
    words = read_tokenizer(tokenizer)
    saved = read_checkpoint(upstream, progress)
    model = description.build(words)
    left = take_over(upstream, model, saved)
    weights = model.state_dict()
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    parameters = sum(weight.numel() for weight in weights.values())
    require_room(path.parent, parameters * DTYPES[dtype].itemsize)
    save_tokenizer(words, path.parent / TOKENIZER)
    stream = checked(weights, DTYPES[dtype], progress)
    size = write_safetensors(path, shapes, DTYPES[dtype], stream, description.as_metadata())
    return {"parameters": parameters, "bytes": size, "dtype": dtype, "datasets": sorted(ranges), "left_out": left}


def config_of(
    told: Mapping[str, Any], encoder: PrismaticConfig, experts: Mapping[str, Mapping[str, int]]
) -> PublishedConfig:
    """Sizes from upstream's config.json. What it does not say is as upstream's code has it.

    Raises CheckpointError when it says what is not built here.
    """
    for name, value in FIXED.items():
        if told.get(name, value) != value:
            raise CheckpointError(f"trained with {name}={told[name]}, which is not built here; only {value} is")
    kind = str(told.get("action_model_type", "DiT-L"))
    if kind not in experts:
        raise UnknownName("action expert", kind, experts)
    views = 3 if told.get("load_bi_wrist") else 2 if told.get("load_wrist") else 1
    try:
        expert = InContextConfig(
            horizon=int(told.get("future_action_window_size", 15)) + 1,
            cognitive_dim=int(encoder.llm.get("hidden_size", WIDTH)),
            perceptual_dim=int(told.get("per_token_size", 256)),
            **experts[kind],
        )
        written = "fused" if told.get("update_fused") else "raw"
        patches = (encoder.image_size // int(encoder.dino.get("patch_size", PATCH))) ** 2
        return PublishedConfig(views, patches, int(told.get("mem_length", 16)), written, expert)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"config.json: {error}") from None


def take_over(path: Path, model: Published, weights: Mapping[str, Tensor]) -> list[str]:
    """Gives `model` upstream's `weights`, by upstream's names, as they lie in the file; names of those it has no use
    for.

    Raises CheckpointError when one is missing, not known here or of another shape.
    """
    ours = {our_name(name): tensor for name, tensor in weights.items()}
    wanted = model.state_dict()
    for name in wanted.keys() & ours.keys():
        if wanted[name].shape != ours[name].shape:
            have, want = tuple(ours[name].shape), tuple(wanted[name].shape)
            raise CheckpointError(f"{path}: '{upstream_name(name)}' is {have}, the network expects {want}")
    missing, unknown = model.load_state_dict(ours, strict=False, assign=True)
    for what, names in (("lacks", missing), ("has weights that are not known here:", unknown)):
        if names:
            shown = ", ".join(map(upstream_name, names[:SHOWN]))
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise CheckpointError(f"{path} {what} {shown}{more}")
    return sorted(map(upstream_name, ours.keys() - wanted.keys()))


def require_room(folder: Path, size: int) -> None:
    """Raises CheckpointError when there is no room for `size` bytes in `folder`."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise CheckpointError(f"{folder} has {free / 1e9:.2f} GB free, the weights take {size / 1e9:.2f} GB")


def checked(weights: Mapping[str, Tensor], dtype: torch.dtype, progress: Progress) -> Iterator[Tensor]:
    """The weights as `dtype`, one after the other. Raises CheckpointError at the first that is not finite."""
    done, total = 0, sum(weight.numel() for weight in weights.values())
    for name, weight in weights.items():
        written = weight.to(dtype)
        if not written.isfinite().all():
            raise CheckpointError(f"'{upstream_name(name)}' is not finite as {dtype}")
        yield written
        done += weight.numel()
        progress("convert", done, total)
