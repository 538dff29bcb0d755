"""Draws of frames and of whole episodes, as tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policies.memoryvla.frames import FrameTable, GlanceTable
from policies.memoryvla.model import SubGoal
from policies.memoryvla.normalize import Normalizer, on_table

Frames = NDArray[np.int64]  # rows of the table
TRUE = ("places", "visible", "pixels", "named", "known")  # of a glance
FAR = (0.6, 1.2, 2.5)  # 0.1 m, moments of one kind are alike that are about as far from their sub-goal
USUAL = (0.4, 1.5)  # what alike moments usually move, as a share of what all do: beyond, it counts no more and no less


class Batches:
    """Draws frames and episodes from a table; all chance comes from the generator given."""

    def __init__(
        self, table: FrameTable, glances: GlanceTable | None, normalizer: Normalizer, device: torch.device
    ) -> None:
        self.table, self.glances, self.device = table, glances, device
        self.normalizer = normalizer
        self.proprio = normalizer.proprio(np.asarray(table.proprio)).astype(np.float32)
        self.actions = normalizer.actions_in(np.asarray(table.actions)).astype(np.float32)
        off = np.linalg.norm(np.asarray(table.goal) - on_table(np.asarray(table.proprio[:, :3])), axis=-1)
        self.alike = np.asarray(table.kind) * (len(FAR) + 1) + np.digitize(off, FAR)
        self.care = _care(self.actions, self.alike)
        self.episode = table.episode_of()
        self.of_task = [np.flatnonzero(table.task == task) for task in range(len(table.tasks))]
        self.frames_of_task = [np.flatnonzero(np.isin(self.episode, of)) for of in self.of_task]

    def frames(self, count: int, random: torch.Generator) -> Frames:
        """`count` frames of demonstrations, every task the same share."""
        return _drawn(self.frames_of_task, count, random)

    def glanced(self, count: int, random: torch.Generator) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """`count` glances, every task the same share: what the encoder takes, and what is true, by column."""
        if self.glances is None:
            raise ValueError("there are no glances")
        some = _drawn(self.glances.of_task, count, random)
        body = self.normalizer.proprio(np.asarray(self.glances.proprio[some])).astype(np.float32)
        seen = (self.glances.images[some], self.glances.words[some], body)
        columns = self.glances.columns
        true = {name: self.tensor(columns[name][some]) for name in TRUE if name in columns}
        return tuple(map(self.tensor, seen)), true

    def rolls(self, count: int, stride: int, random: torch.Generator, group: int = 0) -> list[Frames]:
        """The frames of `count` episodes, longest first, tasks in turn: every `stride`-th from a random start, or a
        `group` of them drawn at random, in order."""
        chosen = []
        for number in range(count):
            of = self.of_task[number % len(self.of_task)]
            episode = of[int(torch.randint(len(of), (), generator=random))]
            first, last = self.table.first[episode], self.table.first[episode + 1]
            if group:
                some = torch.randperm(last - first, generator=random)[:group].sort().values
                chosen.append(first + some.numpy())
            else:
                phase = int(torch.randint(stride, (), generator=random))
                chosen.append(np.arange(first + phase, last, stride))
        return sorted(chosen, key=len, reverse=True)

    def tensor(self, values: NDArray[Any]) -> Tensor:
        """`values` on the device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def seen(self, frames: Frames) -> tuple[Tensor, Tensor, Tensor]:
        """What the encoder takes: images, words, proprioception."""
        words = self.table.words[self.episode[frames]]
        return self.tensor(self.table.images[frames]), self.tensor(words), self.body(frames)

    def body(self, frames: Frames) -> Tensor:
        """Proprioception for the network."""
        return self.tensor(self.proprio[frames])

    def tool(self, frames: Frames) -> Tensor:
        """Where the tool is (B, 3) [0.1 m]."""
        return self.tensor(on_table(np.asarray(self.table.proprio[frames][:, :3], np.float64))).float()

    def after(self, frames: Frames) -> SubGoal:
        """What the demonstrator is after."""
        columns = (self.table.places, self.table.visible, self.table.goal, self.table.kind)
        return SubGoal.among(*(self.tensor(column[frames]) for column in columns))

    def home(self) -> Tensor:
        """Where the demonstrator goes when it is after no thing (3,) [0.1 m]: the mean, zero if it never is."""
        every = self.after(np.arange(len(self.episode)))
        home = every.place[every.which == self.table.places.shape[1]]
        return home.mean(dim=0) if len(home) else torch.zeros(3, device=self.device)

    def done(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """What the expert learns (B, h, 7), and how much each number of it counts (B, h, 7)."""
        counts = self.table.valid[frames][..., None] * self.care[self.alike[frames]]
        return self.tensor(self.actions[frames]), self.tensor(counts)


def _care(actions: NDArray[np.float32], alike: NDArray[np.int64]) -> NDArray[np.float32]:
    """How much an error counts (G, h, 7) in each group of moments, for `actions` (F, h, 7) of moments in `alike` (F,).

    The less a group moves, the more: fine work, a hand over a button, would be lost beside what goes across the table.
    """
    care = np.ones((alike.max() + 1, *actions.shape[1:]), np.float32)
    for group in np.unique(alike):
        usual = np.sqrt(np.mean(actions[alike == group, :, :3] ** 2, axis=0))
        care[group, :, :3] = 1 / np.clip(usual, *USUAL) ** 2
    return care


def _drawn(of_task: Sequence[Frames], count: int, random: torch.Generator) -> Frames:
    """`count` rows, every task the same share, in the order of the table."""
    task = torch.randint(len(of_task), (count,), generator=random).tolist()
    share = torch.rand(count, generator=random, dtype=torch.float64).tolist()
    return np.sort([of_task[k][int(u * len(of_task[k]))] for k, u in zip(task, share, strict=True)])
