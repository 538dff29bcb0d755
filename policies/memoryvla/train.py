"""Training in two stages: first the encoder with the action expert, no memory; then memory over whole episodes.

The first stage learns to see: where things are, told by the simulator, and how to move, as far as one moment tells.
Then the encoder is frozen and every frame is encoded once, so that the second stage, the memory rolled through
episodes in time order, costs only its cheap part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from policies.memoryvla.checkpoint import load_checkpoint, save_checkpoint
from policies.memoryvla.frames import FrameTable, prepare
from policies.memoryvla.model import MemoryVLA, MemoryVLAConfig
from policies.memoryvla.normalize import Normalizer
from policies.memoryvla.policy import MemoryVLAPolicy
from robomem.data.store import EpisodeStore
from robomem.interfaces import Kinematics
from robomem.learn.trainer import Losses, Trainer, TrainerConfig, chance

Progress = Callable[[str, int, int, dict[str, float]], None]  # stage, step, of, losses
Evaluate = Callable[[MemoryVLAPolicy, int], None]


@dataclass(frozen=True)
class TrainConfig:
    """One training run. `encoder`: a checkpoint whose first stage is taken over instead of trained."""

    seed: int = 0
    model: MemoryVLAConfig = field(default_factory=MemoryVLAConfig)
    encoder: str | None = None
    see: TrainerConfig = field(default_factory=lambda: TrainerConfig(steps=4000, lr=8e-4, warmup=100, ema=0.995))
    remember: TrainerConfig = field(default_factory=lambda: TrainerConfig(steps=1500, lr=1e-3, ema=0.99))
    frames: int = 64  # a step of the first stage
    episodes: int = 24  # a step of the second stage
    chunks: int = 256  # chunks denoised in a step of the second stage
    grad_window: int = 1000  # writes that a gradient reaches back
    evaluate_every: int = 500  # steps of the second stage


def train(
    config: TrainConfig,
    stores: Sequence[EpisodeStore],
    kinematics: Kinematics,
    folder: Path,
    made_by: dict[str, object],
    progress: Progress = lambda stage, step, of, losses: None,
    evaluate: Evaluate | None = None,
    prepared: Path | None = None,
) -> Path:
    """Train, or go on with the run in `folder`; returns the checkpoint file. `evaluate` sees the policy as it grows."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = prepare(
        stores, kinematics, config.model, prepared or folder / "frames", lambda n, of: progress("prepare", n, of, {})
    )
    torch.manual_seed(config.seed)
    normalizer = Normalizer.fit(np.asarray(table.proprio, np.float64), np.asarray(table.actions, np.float64))
    model = MemoryVLA(config.model)
    if config.encoder is not None:
        first, normalizer, _ = load_checkpoint(Path(config.encoder))
        model.load_state_dict(
            {name: w for name, w in first.state_dict().items() if not name.startswith("bank.")}, strict=False
        )
    model.to(device)
    batches = Batches(table, normalizer, device)
    walls = {}
    if config.encoder is None:
        walls["see_s"] = _see(config, model, batches, folder / "see", progress)
        save_checkpoint(folder / "encoder.safetensors", model, normalizer, {**made_by, **walls})
    tokens = encode(model, batches, lambda n, of: progress("encode", n, of, {}))
    model.encoder.requires_grad_(False)
    model.entities_of_cognitive.requires_grad_(False)
    model.entities_of_perceptual.requires_grad_(False)
    trainer = Trainer(
        model, lambda step: _remember(config, model, batches, tokens, step), config.remember, folder / "remember"
    )
    while trainer.step < config.remember.steps:
        following = trainer.step - trainer.step % config.evaluate_every + config.evaluate_every
        trainer.run(lambda step, losses: progress("remember", step, config.remember.steps, losses), until=following)
        if evaluate is not None:
            evaluate(_averaged(trainer, model, normalizer, kinematics), trainer.step)
    trainer.use_average()
    walls["remember_s"] = trainer.wall_s
    path = folder / "policy.safetensors"
    save_checkpoint(path, model, normalizer, {**made_by, **walls, "seeds": table.seeds, "episodes": len(table.task)})
    return path


class Batches:
    """Draws frames and episodes from a table; all chance comes from the generator given."""

    def __init__(self, table: FrameTable, normalizer: Normalizer, device: torch.device) -> None:
        self.table, self.device = table, device
        self.proprio = normalizer.proprio(np.asarray(table.proprio)).astype(np.float32)
        self.actions = normalizer.actions_in(np.asarray(table.actions)).astype(np.float32)
        self.episode = table.episode_of()
        self.of_task = [np.flatnonzero(table.task == task) for task in range(len(table.tasks))]
        self.frames_of_task = [np.flatnonzero(np.isin(self.episode, of)) for of in self.of_task]

    def frames(self, count: int, random: torch.Generator) -> np.ndarray:
        """`count` frames, every task the same share."""
        task = torch.randint(len(self.of_task), (count,), generator=random).tolist()
        share = torch.rand(count, generator=random, dtype=torch.float64).tolist()
        return np.sort(
            [self.frames_of_task[k][int(u * len(self.frames_of_task[k]))] for k, u in zip(task, share, strict=True)]
        )

    def rolls(self, count: int, stride: int, random: torch.Generator) -> list[np.ndarray]:
        """The frames of `count` episodes, longest first, every `stride`-th from a random start, tasks in turn."""
        chosen = []
        for number in range(count):
            of = self.of_task[number % len(self.of_task)]
            episode = of[int(torch.randint(len(of), (), generator=random))]
            phase = int(torch.randint(stride, (), generator=random))
            chosen.append(np.arange(self.table.first[episode] + phase, self.table.first[episode + 1], stride))
        return sorted(chosen, key=len, reverse=True)

    def tensor(self, values: np.ndarray) -> Tensor:
        """`values` on the device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def seen(self, frames: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """What the encoder takes: images, words, proprioception."""
        words = self.table.words[self.episode[frames]]
        return self.tensor(self.table.images[frames]), self.tensor(words), self.tensor(self.proprio[frames])

    def done(self, frames: np.ndarray) -> tuple[Tensor, Tensor]:
        """What the expert learns: actions and whether each counts."""
        return self.tensor(self.actions[frames]), self.tensor(self.table.valid[frames])


def _see(config: TrainConfig, model: MemoryVLA, batches: Batches, folder: Path, progress: Progress) -> float:
    """The first stage; returns its wall time [s]."""
    model.bank.requires_grad_(False)
    model.goal.requires_grad_(False)

    def loss(step: int) -> Losses:
        random = chance(config.seed, step)
        frames = batches.frames(config.frames, random)
        with torch.autocast(batches.device.type, torch.bfloat16):
            cognitive, perceptual = model.encoder(*batches.seen(frames))
            table = batches.table
            where = model.entity_loss(
                cognitive, perceptual, batches.tensor(table.places[frames]), batches.tensor(table.visible[frames])
            )
            actions, valid = batches.done(frames)
            move = model.sampler.loss(model.expert, actions, cognitive, perceptual, valid, random)
        return {"loss": where + move, "entities": where.detach(), "action": move.detach()}

    trainer = Trainer(model, loss, config.see, folder)
    trainer.run(lambda step, losses: progress("see", step, config.see.steps, losses))
    trainer.use_average()
    model.bank.requires_grad_(True)
    model.goal.requires_grad_(True)
    return trainer.wall_s


@torch.no_grad()
def encode(
    model: MemoryVLA, batches: Batches, progress: Callable[[int, int], None], size: int = 256
) -> tuple[Tensor, Tensor]:
    """Cognitive (F, 1, D) and perceptual (F, N, Dp) tokens of every frame, bfloat16."""
    cognitive, perceptual = [], []
    frames = np.arange(len(batches.episode))
    for start in range(0, len(frames), size):
        with torch.autocast(batches.device.type, torch.bfloat16):
            c, p = model.encoder(*batches.seen(frames[start : start + size]))
        cognitive.append(c.bfloat16())
        perceptual.append(p.bfloat16())
        progress(min(start + size, len(frames)), len(frames))
    return torch.cat(cognitive), torch.cat(perceptual)


def _remember(
    config: TrainConfig, model: MemoryVLA, batches: Batches, tokens: tuple[Tensor, Tensor], step: int
) -> Losses:
    """The second stage's loss: chunks and sub-goals from what a memory rolled through whole episodes holds."""
    random = chance(config.seed + 1, step)
    table = batches.table
    stride = round(config.model.period / table.stride_s)
    rolls = batches.rolls(config.episodes, stride, random)
    lengths = [len(roll) for roll in rolls]
    padded = np.stack([np.pad(roll, (0, lengths[0] - len(roll)), mode="edge") for roll in rolls])
    flat = np.concatenate([padded[: sum(n > k for n in lengths), k] for k in range(lengths[0])])
    if model.bank.config.enabled:
        at = torch.from_numpy(padded)
        cognitive, perceptual = tokens[0][at].float(), tokens[1][at].float()
        cognitive, perceptual = model.bank.roll(
            cognitive, perceptual, batches.tensor(table.t[padded]), lengths, config.grad_window
        )
    else:
        cognitive, perceptual = tokens[0][flat].float(), tokens[1][flat].float()
    with torch.autocast(batches.device.type, torch.bfloat16):
        goal, metrics = model.goal_loss(cognitive, batches.tensor(table.goal[flat]), batches.tensor(table.kind[flat]))
        some = torch.randint(len(flat), (config.chunks,), generator=random)
        actions, valid = batches.done(flat[some.numpy()])
        move = model.sampler.loss(model.expert, actions, cognitive[some], perceptual[some], valid, random)
    return {"loss": move + goal, "action": move.detach(), "goal": goal.detach(), **metrics}


def _averaged(trainer: Trainer, model: MemoryVLA, normalizer: Normalizer, kinematics: Kinematics) -> MemoryVLAPolicy:
    """A policy with the averaged weights so far, apart from the model in training."""
    copy = MemoryVLA(model.config)
    copy.load_state_dict({**model.state_dict(), **trainer.average})
    return MemoryVLAPolicy(copy, normalizer, kinematics)
