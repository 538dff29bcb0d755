"""A checkpoint of random weights: all that running needs, none of what succeeding needs."""

from dataclasses import replace
from pathlib import Path

import torch

from policies.action.dit import DiTConfig
from policies.memoryvla.checkpoint import save_checkpoint
from policies.memoryvla.model import MemoryVLA, MemoryVLAConfig
from policies.memoryvla.normalize import Normalizer
from policies.vlm.nano import NanoConfig
from robomem.memory.bank import BankConfig

SMALL = MemoryVLAConfig(
    encoder=NanoConfig(dim=32, heads=2, layers=1, channels=(8, 16, 32), tokens=8, perceptual_dim=16),
    bank=BankConfig(slots=4, tokens=8, perceptual_dim=16, cognitive_dim=32, heads=2),
    expert=DiTConfig(dim=32, heads=2, layers=1, cognitive_dim=50, perceptual_dim=16),
)
QUICK = ("robot.hz=4", "robot.camera_hz=4")  # an episode has a fifth of the ticks


def save_random_policy(path: Path, memory: bool = True, seed: int = 0) -> Path:
    """Writes one to `path`."""
    torch.manual_seed(seed)
    config = replace(SMALL, bank=replace(SMALL.bank, enabled=memory))
    normalizer = Normalizer(
        (0.0,) * config.encoder.proprio, (1.0,) * config.encoder.proprio, ((0.1,) * 6,) * config.expert.horizon
    )
    model = MemoryVLA(config)
    with torch.no_grad():
        for weights in model.parameters():  # also those that a training starts at zero, so that everything has a say
            weights.add_(0.1 * torch.randn_like(weights))
    save_checkpoint(path, model, normalizer, {})
    return path
