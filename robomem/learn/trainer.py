"""A training run that can be killed at any moment and goes on as if it had not been.

All chance of step k comes from (seed, k), so a checkpoint is weights, optimiser moments and a step number; nothing else
decides what comes next.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robomem.data.durable import replace_file
from robomem.learn.checkpoints import read_safetensors

Losses = Mapping[str, Tensor]
PER_PARAMETER = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class TrainerConfig:
    """AdamW with linear warm-up and cosine decay to zero, clipped gradients, averaged weights."""

    steps: int
    lr: float
    warmup: int = 50  # steps
    weight_decay: float = 0.01
    clip: float = 1.0  # largest gradient norm
    ema: float = 0.99  # share of the average that stays at each step
    checkpoint_every: int = 100  # steps

    def lr_at(self, step: int) -> float:
        """Learning rate of a step."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))


def chance(seed: int, step: int) -> torch.Generator:
    """The generator of all chance in one step of one run."""
    return torch.Generator().manual_seed((seed + 1) * 1_000_000_007 + step)


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where the processor computes with it; elsewhere it would be emulated, many times slower than float32."""
    can = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    native = device.type != "cpu" or any(can.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.autocast(device.type, torch.bfloat16, enabled=native)


class Trainer:
    """Trains the parameters of `module` that require gradients, on `loss(step)`, a mapping whose "loss" is minimised.

    `folder` keeps `state.safetensors` and `losses.jsonl`, one line a step. Raises CheckpointError when the folder holds
    the state of another network.
    """

    def __init__(self, module: nn.Module, loss: Callable[[int], Losses], config: TrainerConfig, folder: Path) -> None:
        self.module, self.loss, self.config, self.folder = module, loss, config, folder
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.98)
        )
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.step, self.wall_s = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._state, self._losses = folder / "state.safetensors", folder / "losses.jsonl"
        if self._state.exists():
            self._resume()
        lines = self._losses.read_text().splitlines(keepends=True) if self._losses.exists() else []
        self._losses.write_text("".join(lines[: self.step]))  # steps after the last checkpoint are done again

    def run(self, on_step: Callable[[int, dict[str, float]], None] | None = None, until: int | None = None) -> None:
        """Train to the end, or to step `until`; `on_step(step, losses)` is called after each step."""
        last = self.config.steps if until is None else min(until, self.config.steps)
        with self._losses.open("a") as log:
            while self.step < last:
                begun = time.monotonic()
                values = self._one_step()
                self.wall_s += time.monotonic() - begun
                log.write(json.dumps({"step": self.step, **values}) + "\n")
                self.step += 1
                if self.step % self.config.checkpoint_every == 0 or self.step == last:
                    log.flush()
                    self.save()
                if on_step is not None:
                    on_step(self.step, values)

    def _one_step(self) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr_at(self.step)
        losses = self.loss(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip, error_if_nonfinite=True)
        self.optimizer.step()
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        names = list(self.parameters)
        torch._foreach_lerp_(  # the averaged weights follow the trained ones
            [self.average[name] for name in names], [self.parameters[name].detach() for name in names], 1 - keep
        )
        return {name: value.item() for name, value in losses.items()}

    def use_average(self) -> None:
        """Put the averaged weights into the module; the trained ones are in the saved state."""
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(self.average[name])

    def history(self) -> list[dict[str, float]]:
        """Every step's losses, oldest first."""
        with self._losses.open() as log:
            return [json.loads(line) for line in log]

    def save(self) -> None:
        """Write the state; a kill during it leaves the one before."""
        tensors = {f"weight.{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"average.{name}": p for name, p in self.average.items()}
        for name, p in self.parameters.items():
            moments = self.optimizer.state[p]
            tensors |= {f"{kind}.{name}": moments[kind] for kind in PER_PARAMETER if kind in moments}
        about = {"step": str(self.step), "wall_s": str(self.wall_s)}
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        replace_file(self._state, lambda path: save_file(contiguous, path, metadata=about))

    def _resume(self) -> None:
        shapes = {f"weight.{name}": tuple(p.shape) for name, p in self.parameters.items()}
        tensors, about = read_safetensors(self._state, shapes)
        self.step, self.wall_s = int(about["step"]), float(about["wall_s"])
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(tensors[f"weight.{name}"])
                self.average[name] = tensors[f"average.{name}"]
                if f"exp_avg.{name}" in tensors:
                    moments = {kind: tensors[f"{kind}.{name}"] for kind in PER_PARAMETER}
                    self.optimizer.state[p] = {"step": torch.tensor(float(self.step)), **moments}
