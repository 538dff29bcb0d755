"""One file that is a policy: weights, config, normalisation, and what made it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from policies.action.dit import DiTConfig
from policies.action.incontext import InContextConfig
from policies.action.sampler import SamplerConfig
from policies.memoryvla.model import MemoryVLA, MemoryVLAConfig
from policies.memoryvla.normalize import Normalizer
from policies.memoryvla.policy import Joining, MemoryVLAPolicy
from policies.vlm.fitted import FittedConfig, FittedHuggingFaceConfig, FittedPrismaticConfig
from policies.vlm.nano import NanoConfig
from robomem.data.durable import replace_file
from robomem.errors import CheckpointError
from robomem.interfaces import Kinematics
from robomem.learn.checkpoints import read_safetensors
from robomem.memory.bank import BankConfig
from robomem.memory.compatible import CompatibleConfig

FORMAT = "robomem memoryvla 1"
ENCODERS = NanoConfig, FittedHuggingFaceConfig, FittedPrismaticConfig
KINDS = {kind.__name__: kind for kind in (*ENCODERS, BankConfig, CompatibleConfig, DiTConfig, InContextConfig)}
USUAL = {"encoder": "NanoConfig", "bank": "BankConfig", "expert": "DiTConfig"}  # parts that come in several kinds


def save_checkpoint(
    path: Path,
    model: MemoryVLA,
    normalizer: Normalizer,
    made_by: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write `model` with everything that running it needs but the published model that it may be fitted to; `made_by`
    says how it was trained.

    float16 halves the file; what is loaded is float32 again.
    """
    about = {
        "format": FORMAT,
        "config": asdict(model.config),
        "kinds": {part: type(getattr(model.config, part)).__name__ for part in USUAL},
        "normalizer": asdict(normalizer),
        "made_by": dict(made_by),
    }
    weights = model.state_dict().items()
    tensors = {name: (x.to(dtype) if x.is_floating_point() else x).contiguous() for name, x in weights}
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: save_file(tensors, file, metadata={"robomem": json.dumps(about)}))


def load_checkpoint(path: Path, published: str | None = None) -> tuple[MemoryVLA, Normalizer, dict[str, Any]]:
    """Model, normalisation and the record of what made it. `published`: where the model lies that it is fitted to;
    None: where it did then. Raises CheckpointError."""
    tensors, metadata = read_safetensors(path)
    try:
        about = json.loads(metadata["robomem"])
        if about["format"] != FORMAT:
            raise CheckpointError(f"{path} has format '{about['format']}', expected '{FORMAT}'")
        model = MemoryVLA(_config(about["config"], USUAL | about.get("kinds", {}), published))
        normalizer = Normalizer.of(about["normalizer"])
        made_by = about["made_by"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no robomem policy: {error}") from None
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:  # its lines name every weight
        raise CheckpointError(f"{path} holds the weights of another network; train it anew: robomem train") from error
    return model, normalizer, made_by


def load_policy(
    path: str | Path,
    kinematics: Kinematics,
    joining: Joining = "none",
    pull: float = 5.0,
    published: str | None = None,
    period: float | None = None,
    slots: int | None = None,
) -> MemoryVLAPolicy:
    """The policy in a checkpoint file; `published` as in load_checkpoint, the rest as the policy takes it. Raises
    CheckpointError, and ValueError as the policy does."""
    model, normalizer, _ = load_checkpoint(Path(path), published)
    return MemoryVLAPolicy(model, normalizer, kinematics, joining, pull, period, slots)


def _config(values: dict[str, Any], kinds: Mapping[str, str], published: str | None) -> MemoryVLAConfig:
    parts = {part: KINDS[kind](**_tuples(values[part])) for part, kind in kinds.items()}
    if published:
        if not isinstance(parts["encoder"], FittedConfig):
            raise CheckpointError(f"published is {published}, and the policy is fitted to no published model")
        parts["encoder"] = parts["encoder"].at(published)
    return MemoryVLAConfig(**(values | parts | {"sampler": SamplerConfig(**values["sampler"])}))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
