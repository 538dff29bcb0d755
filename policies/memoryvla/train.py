"""Training in three stages: the encoder with the action expert, no memory; memory over whole episodes; the expert.

The first stage learns to see: where things are, told by the simulator, and how to move, as far as one moment tells.
Then the encoder is frozen and every frame is encoded once, so that the second stage, the memory rolled through
episodes in time order, costs only its cheap part. Last the memory is frozen too: every frame is fused once, and the
expert alone learns, on what the memory makes of each moment: cheap enough to see every moment several times.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor

from policies.memoryvla.batches import Batches, Frames
from policies.memoryvla.checkpoint import load_checkpoint, save_checkpoint
from policies.memoryvla.frames import FrameTable, GlanceTable, prepare, prepare_glances
from policies.memoryvla.model import MemoryVLA, MemoryVLAConfig
from policies.memoryvla.normalize import Normalizer
from policies.memoryvla.policy import MemoryVLAPolicy
from robomem.data.durable import replace_file
from robomem.data.store import EpisodeStore
from robomem.errors import CheckpointError
from robomem.interfaces import Kinematics
from robomem.learn.trainer import Losses, Trainer, TrainerConfig, chance, mixed_precision
from robomem.memory.rolling import roll

SHARE_OF_ACTION = 0.1  # and of sub-goals in the loss of the first stage: without memory most cannot be learned
SHARE_OF_POINTS = 0.3  # and of where tokens point: a help, not the aim
Progress = Callable[[str, int, int, dict[str, float]], None]  # stage, step, of, losses
Evaluate = Callable[[MemoryVLAPolicy, int], None]


@dataclass(frozen=True)
class TrainConfig:
    """One training run. `encoder`: a checkpoint whose first stage is taken over instead of trained."""

    seed: int = 0
    model: MemoryVLAConfig = field(default_factory=MemoryVLAConfig)
    encoder: str | None = None
    see: TrainerConfig = field(default_factory=lambda: TrainerConfig(steps=1600, lr=1e-3, warmup=100, ema=0.995))
    remember: TrainerConfig = field(default_factory=lambda: TrainerConfig(steps=800, lr=1e-3))
    act: TrainerConfig = field(default_factory=lambda: TrainerConfig(steps=800, lr=6e-4, ema=0.995))
    frames: int = 32  # of demonstrations, a step of the first stage
    glances: int = 64  # of random scenes, a step of the first stage
    episodes: int = 24  # a step of the second stage
    chunks: int = 96  # denoised in a step of the second stage
    more_chunks: int = 512  # denoised in a step of the third stage
    grad_window: int = 1000  # steps; gradients through the memory stop at every so many
    group: int = 0  # frames drawn at random from an episode, in order, as upstream trains; 0: all of it, step by step
    attention: Literal["learned", "stuck"] = "learned"  # of the expert to constant tokens; stuck at zero, as upstream's
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
    glances: Sequence[EpisodeStore] = (),
) -> Path:
    """Train, or go on with the run in `folder`; returns the checkpoint file.

    `stores` hold demonstrations, `glances` single moments of random scenes. `evaluate` sees the policy as it grows.
    `prepared` is a folder that runs on the same data may share.
    """
    _check(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prepared = prepared or folder / "frames"
    prepared.mkdir(parents=True, exist_ok=True)
    with _alone_in(prepared):
        look = bool(glances) and not config.encoder
        moments = prepare_glances(glances, kinematics, config.model, prepared / "glances") if look else None
        table = prepare(stores, kinematics, config.model, prepared, lambda n, of: progress("prepare", n, of, {}))
    training = {name: value for name, value in asdict(config).items() if name not in ("model", "encoder")}
    made_by = {
        **made_by,
        "training": training,
        "seeds": table.seeds,
        "episodes": len(table.task),
        "device": device.type,
    }
    if config.encoder:
        encoder = Path(config.encoder)
    else:
        encoder = _see(config, table, moments, device, folder, made_by, progress)
    return _remember(config, table, encoder, prepared, device, folder, kinematics, made_by, progress, evaluate)


def _check(config: TrainConfig) -> None:
    """What is wrong with the encoder is said before the long work. Raises CheckpointError."""
    if not config.encoder:
        MemoryVLA(config.model)  # reads the published model that it is to be fitted to
        return
    its, ours = load_checkpoint(Path(config.encoder))[0].config.encoder, config.model.encoder
    if type(its) is not type(ours):
        raise CheckpointError(
            f"{config.encoder} is of a {type(its).__name__}, the run's encoder is {type(ours).__name__}"
        )


def _alone_in(prepared: Path) -> FileLock:
    """While it is held, other runs that share `prepared` wait: what one of them makes, the others find made."""
    return FileLock(prepared / ".lock")


def _see(
    config: TrainConfig,
    table: FrameTable,
    moments: GlanceTable | None,
    device: torch.device,
    folder: Path,
    made_by: dict[str, object],
    progress: Progress,
) -> Path:
    """The first stage: the encoder and, on what one moment tells, the expert. Returns its checkpoint."""
    torch.manual_seed(config.seed)
    model = MemoryVLA(config.model).to(device)
    normalizer = Normalizer.fit(np.asarray(table.proprio, np.float64), np.asarray(table.actions, np.float64))
    batches = Batches(table, moments, normalizer, device)
    model.home.copy_(batches.home())
    model.bank.requires_grad_(False)
    model.place_of_word.requires_grad_(moments is not None)

    def loss(step: int) -> Losses:
        random = chance(config.seed, step)
        frames = batches.frames(config.frames, random)
        seen: tuple[Tensor, ...] = batches.seen(frames)
        true = {name: batches.tensor(table.columns[name][frames]) for name in ("places", "visible", "pixels")}
        actions, counts = batches.done(frames)
        shown = slice(len(frames))  # glances show no action
        more = None
        if moments is not None:
            more_seen, more = batches.glanced(config.glances, random)
            seen = tuple(torch.cat(pair) for pair in zip(seen, more_seen, strict=True))
            true = {name: torch.cat([value, more[name]]) for name, value in true.items()}
        with mixed_precision(device):
            cognitive, perceptual, words, points = model.encoder.grounded(*seen)
            losses = {"entities": model.entity_loss(cognitive, perceptual, true["places"], true["visible"])}
            if points is not None:
                cell, pixel = model.point_loss(points, true["pixels"], true["visible"])
                losses["cell"], losses["pixel"] = SHARE_OF_POINTS * cell, SHARE_OF_POINTS * pixel
            if words is not None and more is not None:
                losses["words"] = model.word_loss(words[len(frames) :], more["named"], more["known"])
            given = model.condition(
                cognitive[shown], perceptual[shown], seen[2][shown], perceptual[shown], batches.tool(frames)
            )
            goal, _ = model.goal_loss(cognitive[shown], perceptual[shown], batches.after(frames))
            losses["goal"] = SHARE_OF_ACTION * goal
            losses["action"] = SHARE_OF_ACTION * model.sampler.loss(model.expert, actions, given, counts, random)
        return {"loss": sum(losses.values(), torch.zeros(())), **{name: loss.detach() for name, loss in losses.items()}}

    trainer = Trainer(model, loss, config.see, folder / "see")
    trainer.run(lambda step, losses: progress("see", step, config.see.steps, losses))
    trainer.use_average()
    path = folder / "encoder.safetensors"
    save_checkpoint(path, model, normalizer, {**made_by, "see_s": trainer.wall_s})
    return path


@torch.no_grad()
def encode(
    model: MemoryVLA, batches: Batches, path: Path, progress: Callable[[int, int], None], size: int = 256
) -> None:
    """Write the cognitive (F, 1, D) and perceptual (F, N, Dp) tokens of every frame to `path`, float16."""
    cognitive, perceptual = [], []
    frames = np.arange(len(batches.episode))
    for start in range(0, len(frames), size):
        with mixed_precision(batches.device):
            c, p = model.encoder(*batches.seen(frames[start : start + size]))
        cognitive.append(c.half())
        perceptual.append(p.half())
        progress(min(start + size, len(frames)), len(frames))
    tokens = {"cognitive": torch.cat(cognitive), "perceptual": torch.cat(perceptual)}
    replace_file(path, lambda file: save_file(tokens, file))


def _remember(
    config: TrainConfig,
    table: FrameTable,
    encoder: Path,
    prepared: Path,
    device: torch.device,
    folder: Path,
    kinematics: Kinematics,
    made_by: dict[str, object],
    progress: Progress,
    evaluate: Evaluate | None,
) -> Path:
    """The second stage: memory, expert and sub-goals on the frozen encoder's tokens. Returns the checkpoint."""
    torch.manual_seed(config.seed)
    model = MemoryVLA(config.model)
    first, normalizer, its = load_checkpoint(encoder)
    seen = {name: weight for name, weight in first.state_dict().items() if not name.startswith("bank.")}
    model.load_state_dict(seen, strict=False)
    if config.attention == "stuck":
        model.expert.stick()
    model.to(device)
    batches = Batches(table, None, normalizer, device)
    which = zlib.crc32(encoder.read_bytes())
    kept = prepared / f"tokens-{table.identity}-{which:08x}.safetensors"  # runs share an encoder
    with _alone_in(prepared):
        if not kept.exists():
            encode(model, batches, kept, lambda n, of: progress("encode", n, of, {}))
    read = load_file(kept, device=str(device))
    tokens = (read["cognitive"], read["perceptual"])
    for frozen in (model.encoder, model.entities_of_cognitive, model.entity_of_token, model.place_of_word):
        frozen.requires_grad_(False)
    trainer = Trainer(
        model, lambda step: _rolled_loss(config, model, batches, tokens, step), config.remember, folder / "remember"
    )
    while trainer.step < config.remember.steps:
        following = trainer.step - trainer.step % config.evaluate_every + config.evaluate_every
        trainer.run(lambda step, losses: progress("remember", step, config.remember.steps, losses), until=following)
        if evaluate is not None:
            evaluate(_averaged(trainer, model, normalizer, kinematics), trainer.step)
    trainer.use_average()
    act_s = _act(config, model, batches, tokens, folder / "act", progress)
    if evaluate is not None and config.act.steps:
        evaluate(MemoryVLAPolicy(_copy(model), normalizer, kinematics), config.remember.steps + config.act.steps)
    path = folder / "policy.safetensors"
    walls = {"see_s": its.get("see_s"), "remember_s": trainer.wall_s, "act_s": act_s}
    save_checkpoint(path, model, normalizer, {**made_by, **walls}, torch.float16)
    return path


def _act(
    config: TrainConfig,
    model: MemoryVLA,
    batches: Batches,
    tokens: tuple[Tensor, Tensor],
    folder: Path,
    progress: Progress,
) -> float:
    """The third stage: the expert alone, on fused tokens that no longer change. Returns its wall time [s]."""
    model.requires_grad_(False)
    model.expert.requires_grad_(True)
    cognitive, perceptual = _fused(config, model, batches, tokens)

    def loss(step: int) -> Losses:
        random = chance(config.seed, step)
        frames = batches.frames(config.more_chunks, random)
        at = torch.from_numpy(frames)
        actions, counts = batches.done(frames)
        fused, seen = (cognitive[at].float(), perceptual[at].float()), tokens[1][at].float()
        given = model.condition(*fused, batches.body(frames), seen, batches.tool(frames))
        with mixed_precision(batches.device):
            move = model.sampler.loss(model.expert, actions, given, counts, random)
        return {"loss": move, "action": move.detach()}

    trainer = Trainer(model, loss, config.act, folder)
    trainer.run(lambda step, losses: progress("act", step, config.act.steps, losses))
    trainer.use_average()
    return trainer.wall_s


@torch.no_grad()
def _fused(
    config: TrainConfig, model: MemoryVLA, batches: Batches, tokens: tuple[Tensor, Tensor], sessions: int = 64
) -> tuple[Tensor, Tensor]:
    """What the memory makes of every frame, (F, 1, D) and (F, N, Dp), each reached from every start of its episode."""
    if not model.bank.config.enabled:
        return tokens
    table = batches.table
    stride = round(config.model.period / table.stride_s)
    rolls = [
        np.arange(first + phase, last, stride)
        for first, last in pairwise(table.first.tolist())
        for phase in range(min(stride, last - first))
    ]
    rolls.sort(key=len, reverse=True)
    fused = (torch.empty_like(tokens[0]), torch.empty_like(tokens[1]))
    for start in range(0, len(rolls), sessions):
        flat, cognitive, perceptual = _rolled(config, model, batches, tokens, rolls[start : start + sessions])
        fused[0][flat], fused[1][flat] = cognitive.half(), perceptual.half()
    return fused


def _rolled(
    config: TrainConfig, model: MemoryVLA, batches: Batches, tokens: tuple[Tensor, Tensor], rolls: list[Frames]
) -> tuple[Frames, Tensor, Tensor]:
    """The frames of `rolls`, step by step, and the fused tokens of each."""
    lengths = [len(roll) for roll in rolls]
    padded = np.stack([np.pad(roll, (0, lengths[0] - len(roll)), mode="edge") for roll in rolls])
    flat = np.concatenate([padded[: sum(n > k for n in lengths), k] for k in range(lengths[0])])
    if not model.bank.config.enabled:  # nothing is ever retrieved: what is fused is what is seen
        return flat, tokens[0][flat].float(), tokens[1][flat].float()
    at, t = torch.from_numpy(padded), batches.tensor(batches.table.t[padded])
    cognitive, perceptual = (stream[at].float() for stream in tokens)
    return flat, *roll(model.bank, cognitive, perceptual, t, lengths, config.grad_window)


def _rolled_loss(
    config: TrainConfig, model: MemoryVLA, batches: Batches, tokens: tuple[Tensor, Tensor], step: int
) -> Losses:
    """Chunks and sub-goals from what a memory, rolled through whole episodes, holds."""
    random = chance(config.seed, step)
    table = batches.table
    stride = round(config.model.period / table.stride_s)
    rolls = batches.rolls(config.episodes, stride, random, config.group)
    flat, cognitive, perceptual = _rolled(config, model, batches, tokens, rolls)
    with mixed_precision(batches.device):
        seen = tokens[1][torch.from_numpy(flat)].float()
        goal, metrics = model.goal_loss(cognitive, seen, batches.after(flat))
        some = torch.randint(len(flat), (config.chunks,), generator=random)
        frames = flat[some.numpy()]
        actions, counts = batches.done(frames)
        given = model.condition(
            cognitive[some], perceptual[some], batches.body(frames), seen[some], batches.tool(frames)
        )
        move = model.sampler.loss(model.expert, actions, given, counts, random)
    return {"loss": move + goal, "action": move.detach(), "goal": goal.detach(), **metrics}


def _averaged(trainer: Trainer, model: MemoryVLA, normalizer: Normalizer, kinematics: Kinematics) -> MemoryVLAPolicy:
    """A policy with the averaged weights so far, apart from the model in training."""
    copy = _copy(model)
    copy.load_state_dict({**model.state_dict(), **trainer.average})
    return MemoryVLAPolicy(copy, normalizer, kinematics)


def _copy(model: MemoryVLA) -> MemoryVLA:
    copy = MemoryVLA(model.config)
    copy.load_state_dict(model.state_dict())
    return copy
