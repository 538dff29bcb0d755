"""A run that was killed goes on as if it had not been."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robomem.errors import CheckpointError
from robomem.learn.trainer import Trainer, TrainerConfig, chance

CONFIG = TrainerConfig(steps=24, lr=4e-2, warmup=4, checkpoint_every=5)


def trainer(folder: Path, width: int = 8) -> Trainer:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 1))

    def loss(step: int) -> dict[str, Tensor]:
        x = torch.randn(16, 4, generator=chance(7, step))
        error = (module(x) - x.sum(dim=1, keepdim=True)).pow(2).mean()
        return {"loss": error, "twice": 2 * error.detach()}

    return Trainer(module, loss, CONFIG, folder)


def weights(run: Trainer) -> list[Tensor]:
    return [p.detach().clone() for p in run.parameters.values()]


@pytest.mark.parametrize("killed_at", [3, 5, 13, 23])
def test_a_killed_run_resumes_to_the_same_losses_and_weights(tmp_path: Path, killed_at: int) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run()

    class Killed(Exception):
        pass

    def die(step: int, losses: dict[str, float]) -> None:
        if step == killed_at:
            raise Killed

    with pytest.raises(Killed):
        trainer(tmp_path / "parts").run(die)
    resumed = trainer(tmp_path / "parts")
    assert resumed.step == killed_at - killed_at % CONFIG.checkpoint_every
    resumed.run()
    assert resumed.history() == whole.history()
    assert [entry["step"] for entry in whole.history()] == list(range(24))
    for mine, theirs in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(mine, theirs)
    for name, average in whole.average.items():
        assert torch.equal(average, resumed.average[name])


def test_training_lowers_the_loss_and_says_each_step(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.run()
    losses = [entry["loss"] for entry in run.history()]
    assert losses[-1] < losses[0] / 2
    assert all(entry["twice"] == pytest.approx(2 * entry["loss"]) for entry in run.history())


def test_frozen_weights_stay(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    before = module.bias.clone()
    run = Trainer(module, lambda step: {"loss": module(torch.ones(1, 2)).pow(2).sum()}, CONFIG, tmp_path)
    run.run()
    run.use_average()
    assert torch.equal(before, module.bias) and "bias" not in run.parameters


def test_the_state_of_another_network_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).run()
    with pytest.raises(CheckpointError, match="the network expects"):
        trainer(tmp_path, width=9)


def test_a_truncated_state_is_named(tmp_path: Path) -> None:
    trainer(tmp_path).run()
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated"):
        trainer(tmp_path)


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    run = Trainer(module, lambda step: {"loss": module(torch.tensor([[float("nan")]])).sum()}, CONFIG, tmp_path)
    with pytest.raises(RuntimeError, match="non-finite"):
        run.run()


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    rates = [CONFIG.lr_at(step) for step in range(25)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.04)
    assert rates[24] == pytest.approx(0, abs=1e-9) and rates.index(max(rates)) in (3, 4)


def test_losses_are_kept_as_plain_lines(tmp_path: Path) -> None:
    trainer(tmp_path).run(until=2)
    lines = (tmp_path / "losses.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1]
