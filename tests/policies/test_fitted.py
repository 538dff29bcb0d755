"""MemoryVLA trained on a published vision-language model: small ones of the real class, with random weights."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policies.memoryvla.checkpoint import load_checkpoint, load_policy
from policies.memoryvla.frames import prepare_glances
from policies.memoryvla.model import MemoryVLA
from policies.memoryvla.train import TrainConfig, train
from policies.vlm.fitted import FittedHuggingFaceConfig, FittedPrismaticConfig, FittedVLM
from policies.vlm.huggingface import Tuning
from policies.vlm.weights import fingerprint
from robomem.data.store import EpisodeStore
from robomem.errors import CheckpointError, SpecMismatch
from robomem.learn.trainer import TrainerConfig
from robomem.types import Context, Observation
from tests.policies.demonstrations import REST, SMALL, glances, panda, stores
from tests.policies.vlm.test_prismatic import small as small_prismatic
from tests.policies.vlm.tiny import save_family

SIZES: dict[str, Any] = {
    "dtype": "float32", "image_size": 32, "dim": 32, "heads": 2, "layers": 1, "perceptual_dim": 16, "at_once": 5,
}  # fmt: skip
STEPS = TrainerConfig(steps=3, lr=1e-2, warmup=1, checkpoint_every=1)
SAID = "push the red button"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_family("smolvlm", tmp_path_factory.mktemp("smolvlm"))


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> list[EpisodeStore]:
    return stores(tmp_path_factory.mktemp("demos"), episodes=1)


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> list[EpisodeStore]:
    return glances(tmp_path_factory.mktemp("glances"), count=4)


def config_of(path: str, **settings: Any) -> TrainConfig:
    model = replace(SMALL, encoder=FittedHuggingFaceConfig(path=path, **SIZES | settings))
    return TrainConfig(
        model=model, see=STEPS, remember=STEPS, act=STEPS, frames=4, glances=4, episodes=2, chunks=8, more_chunks=8
    )


@pytest.fixture(scope="module")
def trained(
    published: str,
    demos: list[EpisodeStore],
    moments: list[EpisodeStore],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """By what is trained of the published model, the checkpoint of a run."""

    @cache
    def run(tuning: str) -> Path:
        config = config_of(published, tuning=tuning, lora_rank=2)
        return train(config, demos, panda(), tmp_path_factory.mktemp(tuning), {}, glances=moments)

    return run


def look(t: float, seed: int = 0) -> Observation:
    random = np.random.default_rng(seed)
    images = {name: random.integers(0, 255, (32, 32, 3), dtype=np.uint8) for name in ("front", "wrist")}
    return Observation(t, images, REST, np.zeros(7), 0.5)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(path)[0].state_dict())


def size_of(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))


def test_a_frozen_one_is_trained_in_three_stages_and_is_not_in_the_file(trained: Any, published: str) -> None:
    path = trained("frozen")
    assert [name for name in weights(path) if "published" in name or "tuned" in name] == []
    first, last = weights(path.with_name("encoder.safetensors")), weights(path)
    torch.manual_seed(0)
    untrained = MemoryVLA(config_of(published).model).state_dict()
    for name in ("encoder.see.1.weight", "encoder.understand.1.weight", "encoder.view", "encoder.asking"):
        assert not torch.allclose(first[name], untrained[name], atol=1e-3)  # the first stage
        assert torch.equal(first[name].half().float(), last[name])  # the second leaves it alone
    for name in ("bank.cognitive.gate.weigh.weight", "expert.blocks.0.query.weight"):
        assert not torch.allclose(first[name], last[name], atol=1e-3)


def test_a_checkpoint_grows_by_what_is_trained_only(trained: Any, published: str) -> None:
    frozen, lora, full = (trained(tuning).stat().st_size for tuning in ("frozen", "lora", "full"))
    half = size_of(published) / 2  # they are float16, the published model float32
    assert frozen < lora < frozen + half / 3 and frozen + half * 0.7 < full


def test_adapters_learn_and_what_they_are_beside_does_not(trained: Any, published: str) -> None:
    model, *_ = load_checkpoint(trained("lora"))
    now = dict(model.encoder.published.named_parameters())
    fresh = FittedVLM(model.config.encoder).published
    changed = {name for name, weight in fresh.named_parameters() if not torch.equal(weight, now[name])}
    assert changed and all("lora_" in name for name in changed)
    assert {id(of) for of in model.encoder.tuned.values()} == {id(now[name]) for name in changed}


def test_all_of_it_learns(trained: Any) -> None:
    model, *_ = load_checkpoint(trained("full"))
    now = dict(model.encoder.published.named_parameters())
    for name, weight in FittedVLM(model.config.encoder).published.named_parameters():
        if "layers.0" in name and weight.ndim > 1:
            assert not torch.allclose(weight, now[name], atol=1e-3), name


@pytest.mark.parametrize("tuning", ["frozen", "lora", "full"])
def test_the_checkpoint_runs_as_often_as_it_is_read(trained: Any, tuning: str) -> None:
    chunks = []
    for policy in (load_policy(trained(tuning), panda()) for _ in range(2)):
        memory = policy.new_memory(0)
        chunks.append([policy.infer(look(t), Context(SAID), memory).values for t in (0.0, 0.4)])
    assert np.array_equal(*chunks) and np.isfinite(chunks).all()


def test_words_pictures_and_the_body_reach_both_streams(trained: Any) -> None:
    encoder = load_checkpoint(trained("frozen"))[0].encoder
    images = torch.randint(0, 256, (1, 2, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    words, body = torch.tensor([encoder.config.read(SAID)]), torch.zeros(1, 11)
    other = images.clone()
    other[:, 1] = 255 - other[:, 1]
    with torch.no_grad():
        base = encoder(images, words, body)
        for changed in (
            (other, words, body),
            (images, torch.tensor([encoder.config.read("push the blue button")]), body),
            (images, words, body + 1),
        ):
            for was, now in zip(base, encoder(*changed), strict=True):
                assert (was - now).abs().max() > 1e-4


def test_two_sessions_do_not_mix(trained: Any) -> None:
    policy = load_policy(trained("frozen"), panda())
    said = (SAID, "open the drawer")
    alone = []
    for seed, text in enumerate(said):
        memory = policy.new_memory(seed)
        alone.append([policy.infer(look(0.4 * k, 10 * seed + k), Context(text), memory).values for k in range(3)])
    both = [policy.new_memory(seed) for seed in range(2)]
    for k in range(3):
        for seed, (text, memory) in enumerate(zip(said, both, strict=True)):
            chunk = policy.infer(look(0.4 * k, 10 * seed + k), Context(text), memory)
            assert np.array_equal(chunk.values, alone[seed][k])


class Killed(Exception):
    """Stands for kill -9."""


def test_a_killed_training_ends_with_the_same_weights(
    trained: Any, published: str, demos: list[EpisodeStore], moments: list[EpisodeStore], tmp_path: Path
) -> None:
    def die(now: str, step: int, of: int, losses: dict[str, float]) -> None:
        if (now, step) == ("see", 2):
            raise Killed

    config = config_of(published, tuning="lora", lora_rank=2)
    with pytest.raises(Killed):
        train(config, demos, panda(), tmp_path, {}, die, glances=moments)
    resumed, whole = weights(train(config, demos, panda(), tmp_path, {}, glances=moments)), weights(trained("lora"))
    assert resumed.keys() == whole.keys() and all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_other_published_weights_are_refused(trained: Any, published: str, tmp_path: Path) -> None:
    other = save_family("smolvlm", tmp_path / "other", seed=1)
    wrong = rf"{other} holds other weights than those that the policy was fitted to$"
    with pytest.raises(CheckpointError, match=wrong):
        load_policy(trained("frozen"), panda(), published=other)
    same = save_family("smolvlm", tmp_path / "same")
    assert fingerprint(Path(same)) == fingerprint(Path(published)) != fingerprint(Path(other))
    there = load_policy(trained("frozen"), panda(), published=same)
    here = load_policy(trained("frozen"), panda())
    chunks = [policy.infer(look(0.0), Context(SAID), policy.new_memory(0)).values for policy in (there, here)]
    assert np.array_equal(*chunks)


def test_published_weights_that_are_missing_are_named(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = r"^no folder nobody/nothing, .*; get it with: hf download nobody/nothing; robomem doctor tells what is here$"
    with pytest.raises(CheckpointError, match=said):
        load_policy(trained("frozen"), panda(), published="nobody/nothing")
    with pytest.raises(CheckpointError, match=r"^no folder .*/none; robomem doctor tells what is here$"):
        load_policy(trained("frozen"), panda(), published=str(tmp_path / "none"))


def test_what_would_fail_in_training_is_said_before_it(
    trained: Any, published: str, demos: list[EpisodeStore], tmp_path: Path
) -> None:
    for config, said in (
        (config_of(str(tmp_path / "none")), "no folder"),
        (config_of(published, tuning="lora", lora_targets=["query"]), "cannot be fitted: no linear layer 'query'"),
        (TrainConfig(encoder=str(trained("frozen"))), "of a FittedHuggingFaceConfig, the run's encoder is NanoConfig"),
    ):
        with pytest.raises(CheckpointError, match=said):
            train(config, demos, panda(), tmp_path / "run", {})
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokens": 9}, "bank.tokens is 8, the encoder makes it 9"),
        ({"dim": 64}, "bank.cognitive_dim is 32, the encoder makes it 64"),
        ({"perceptual_dim": 8}, "bank.perceptual_dim is 16, the encoder makes it 8"),
        ({"tokens": 7}, "7 perceptual tokens cannot tell of 8 entities"),
        ({"proprio": 12}, "expert.body_dim is 11, the encoder makes it 12"),
        ({"tuning": "some"}, "tuning is 'some', expected frozen, lora or full"),
        ({"tuning": "full", "dtype": "bfloat16"}, "expected dtype=float32"),
    ],
)
def test_sizes_that_do_not_fit_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        config_of("anywhere", **change)


def test_an_instruction_is_read_as_it_was_said(published: str) -> None:
    config = config_of(published, words=32).model.encoder
    assert bytes(config.read("öffne die Lade")).rstrip(b"\0").decode() == "öffne die Lade"
    with pytest.raises(SpecMismatch, match="an instruction has 33 bytes, the policy reads 32"):
        config.read("x" * 33)


def test_glances_for_it_name_no_words(moments: list[EpisodeStore], published: str, tmp_path: Path) -> None:
    table = prepare_glances(moments, panda(), config_of(published).model, tmp_path)
    assert table.words.shape == (8, 240) and "named" not in table.columns
    small = prepare_glances(moments, panda(), SMALL, tmp_path)
    assert small.words.shape == (8, 8) and small.named.shape == (8, 8, 3)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_upstream_s_encoder_is_fitted_too(tmp_path: Path, tuning: Tuning) -> None:
    small_prismatic().save_pretrained(tmp_path)
    config = FittedPrismaticConfig(path=str(tmp_path), tuning=tuning, **SIZES)
    encoder = FittedVLM(config)
    before = {name: weight.detach().clone() for name, weight in encoder.published.named_parameters()}
    optimizer = torch.optim.SGD([weight for weight in encoder.parameters() if weight.requires_grad], lr=0.1)
    images = torch.randint(0, 256, (2, 2, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    words, body = torch.tensor([config.read(SAID), config.read("open the drawer")]), torch.zeros(2, 11)
    cognitive, perceptual = encoder(images, words, body)
    assert cognitive.shape == (2, 1, 32) and perceptual.shape == (2, 8, 16)
    (cognitive.pow(3).sum() + perceptual.pow(3).sum()).backward()
    optimizer.step()
    now = dict(encoder.published.named_parameters())
    learned = {name for name in before if not torch.equal(before[name], now[name])}
    assert learned == {name for name in before if tuning == "full" or "lora_B" in name}
