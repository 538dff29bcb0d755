"""The whole network gives the plain formulation's numbers, for one session and for many."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from policies.memoryvla.plain import Entry, Expert, compress, denoise, keep, remember
from policies.published.checkpoint import load_model
from policies.published.model import Held, Published
from policies.vlm.encoder import Encoded
from robomem.memory.state import within
from tests.policies.published.run_folder import CONFIG, save_run, upstream_weights
from tests.policies.published.test_convert import converted, flat

WORDS = ["push the red button", "open the drawer now please", "push the green cup"]


@pytest.fixture(scope="module", params=[("raw", 1), ("fused", 2)], ids=lambda made: f"{made[0]}, {made[1]} views")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """What is converted, both ways of writing, with one camera and two."""
    written, views = request.param
    told = CONFIG | {"update_fused": written == "fused", "load_wrist": views == 2}
    folder = tmp_path_factory.mktemp("run")
    made, _ = load_model(converted(save_run(folder, {"model": upstream_weights()}, told), folder), device="cpu")
    return made.eval().requires_grad_(False)


class PlainSession:
    """One session by the plain formulation, from upstream's weights under upstream's names."""

    def __init__(self, weights: Mapping[str, Tensor], slots: int, fused: bool) -> None:
        self.weights, self.slots, self.fused = weights, slots, fused
        self.held: dict[str, list[Entry]] = {"per": [], "cog": []}
        self.t = 0

    def chunk(self, cognitive: Tensor, visual: Tensor, noise: Tensor) -> Tensor:
        """For what was seen, (1, D) and (V, N, D), from `noise` (h, 7)."""
        perceptual = torch.cat([compress(within(self.weights, "per_compr."), view) for view in visual])
        told = {}
        for name, x in (("per", perceptual), ("cog", cognitive)):
            told[name] = remember(within(self.weights, f"{name}_mem_bank."), self.held[name], x)
            entry = Entry(self.t, told[name] if self.fused else x)
            self.held[name] = keep(self.held[name], entry, self.slots)
        self.t += 1
        net = Expert(within(self.weights, "action_model.net."), 2, 3)
        return denoise(net, noise[None], told["cog"][None], told["per"][None], steps=10, guidance=1.5)[0]


def pictures(model: Published, moments: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (moments, model.config.views, 28, 28, 3), generator=random, dtype=torch.uint8)


def step(model: Published, held: Held, seen: Encoded, t: list[float], noise: Tensor) -> tuple[Tensor, Held]:
    with torch.inference_mode():
        return model(held, seen, torch.tensor([t, [0.4 * step for step in t]]), noise)


def test_an_episode_gives_the_plain_formulation_s_chunks(model: Published) -> None:
    plain = PlainSession(flat(upstream_weights()), model.config.slots, model.config.written == "fused")
    held = model.empty()
    for k in range(3 * model.config.slots):
        seen = model.encoder(pictures(model, 1, seed=k), [WORDS[k % 3]])
        noise = torch.randn(1, 5, 7, generator=torch.Generator().manual_seed(k))
        chunk, held = step(model, held, seen, [float(k)], noise)
        true = plain.chunk(seen.cognitive[0], seen.visual[0], noise[0])
        assert (chunk[0] - true).abs().max() < 1e-4 * true.abs().max()


def test_each_view_and_the_memory_are_seen_in_the_chunk(model: Published) -> None:
    seen = model.encoder(pictures(model, 1, seed=0), WORDS[:1])
    noise = torch.zeros(1, 5, 7)
    first, held = step(model, model.empty(), seen, [0.0], noise)
    for view in range(model.config.views):
        visual = seen.visual.clone()
        visual[:, view] = visual[:, view].roll(1, dims=-1)
        assert (step(model, model.empty(), seen._replace(visual=visual), [0.0], noise)[0] - first).abs().max() > 1e-3
    other = model.encoder(pictures(model, 1, seed=1), WORDS[:1])
    remembered, _ = step(model, held, other, [1.0], noise)
    assert (step(model, model.empty(), other, [1.0], noise)[0] - remembered).abs().max() > 1e-3


def test_sessions_of_any_age_together_are_as_each_alone(model: Published) -> None:
    ages = [0, 2, 7]  # that each session has seen before
    alone = []
    for age in ages:
        held = model.empty()
        for k in range(age):
            seen = model.encoder(pictures(model, 1, seed=10 * age + k), WORDS[:1])
            _, held = step(model, held, seen, [float(k)], torch.zeros(1, 5, 7))
        alone.append(held)
    banks = zip(*alone, strict=True)
    p, c = (
        replace(of[0], **{name: torch.cat([it.tensors()[name] for it in of]) for name in of[0].tensors()})
        for of in banks
    )
    seen, noise = model.encoder(pictures(model, 3, seed=99), WORDS), torch.randn(3, 5, 7)
    together, _ = step(model, (p, c), seen, list(map(float, ages)), noise)
    for session, (age, held) in enumerate(zip(ages, alone, strict=True)):
        own = Encoded(*(tokens[session : session + 1] for tokens in seen))
        single, _ = step(model, held, own, [float(age)], noise[session : session + 1])
        assert torch.allclose(together[session], single[0], atol=1e-4 * float(single.abs().max()))


def test_half_precision_runs_and_stays_near(model: Published, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    told = CONFIG | {"update_fused": model.config.written == "fused", "load_wrist": model.config.views == 2}
    path = converted(save_run(folder, {"model": upstream_weights()}, told), folder, "bfloat16")
    half, _ = load_model(path, device="cpu")
    held, held_half = model.empty(), half.empty()
    for k in range(5):
        seen = model.encoder(pictures(model, 1, seed=k), WORDS[:1])
        noise = torch.randn(1, 5, 7, generator=torch.Generator().manual_seed(k))
        chunk, held = step(model, held, seen, [float(k)], noise)
        short, held_half = step(half, held_half, Encoded(*(x.bfloat16() for x in seen)), [float(k)], noise)
        assert short.dtype == torch.float32
        assert (chunk - short).abs().mean() < 0.1 * chunk.abs().mean()
    assert held_half[0].facts.dtype == torch.float32
