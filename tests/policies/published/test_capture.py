"""A captured step is the step, and leaves alone what it has answered before. What a GPU does to record and replay is
played here by running the step again into the same tensors."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from policies.published.benchmark import random_policy
from policies.published.capture import CapturedStep, Graphs
from policies.published.policy import PublishedPolicy
from robomem.memory.state import MemoryState
from robomem.types import Context, Observation
from tests.policies.demonstrations import REST, panda
from tests.policies.published.run_folder import ENCODER, EXPERTS


class Recorder:
    """Replays into the tensors of the first run, as a graph does; counts how often something was recorded."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, run: Callable[[], Sequence[Tensor]]) -> tuple[Callable[[], None], Sequence[Tensor]]:
        self.recorded += 1
        places = [torch.full_like(result, -1) for result in run()]

        def replay() -> None:
            for place, result in zip(places, run(), strict=True):
                place.copy_(result)

        return replay, places


def policy(**settings: object) -> PublishedPolicy:
    expert = EXPERTS["DiT-L"] | {"horizon": 5, "cognitive_dim": 32, "perceptual_dim": 16}
    given = {"patches": 4, "slots": 3, "image_size": 28, "dtype": "float32", "device": "cpu"}
    given |= {"compiled": False, "graphs": False}
    return random_policy(panda(), ENCODER, expert, **given | settings)  # type: ignore[arg-type]


def played(actor: PublishedPolicy, words: Sequence[str]) -> tuple[list[np.ndarray], list[MemoryState]]:
    memory, actions, before = actor.new_memory(1, sessions=2), [], []
    for k, said in enumerate(words):
        before.append(memory.fork())
        images = np.random.default_rng(k).integers(0, 255, (2, 1, 28, 28, 3), dtype=np.uint8)
        actions.append(actor.step(images, [said, said], np.array([k, k + 0.5]), memory))
    return actions, before


SHORT, LONG = "push it", " ".join(["push"] * 20)


def test_a_captured_step_is_the_step_and_answers_stay_as_they_are() -> None:
    plain, captured, recorder = policy(), policy(), Recorder()
    captured._step = CapturedStep(captured.model, recorder)
    words = [SHORT] * 5 + [LONG] * 2 + [SHORT]
    (true, _), (actions, before) = played(plain, words), played(captured, words)
    for chunk, same in zip(true, actions, strict=True):
        assert np.array_equal(chunk, same)
    assert recorder.recorded == 2  # a length of prompt each
    assert [memory.length.tolist() for memory in before] == [[min(k, 3)] * 2 for k in range(len(words))]
    images = np.random.default_rng(4).integers(0, 255, (2, 1, 28, 28, 3), dtype=np.uint8)
    assert np.array_equal(captured.step(images, [SHORT, SHORT], np.array([4, 4.5]), before[4]), true[4])


def test_tensors_of_other_shapes_are_captured_apart() -> None:
    recorder = Recorder()
    double = Graphs(lambda given: [2 * given[0]], recorder)
    for size, seen in ((2, 1), (2, 1), (3, 2), (2, 2)):
        x = torch.randn(size)
        (y,) = double([x])
        assert torch.equal(y, 2 * x) and recorder.recorded == seen


def test_graphs_need_a_gpu() -> None:
    with pytest.raises(ValueError, match="graphs need a GPU, the weights are on cpu"):
        policy(graphs=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="records a CUDA graph")
def test_a_gpu_replays_the_step() -> None:
    words = [SHORT] * 5 + [LONG] * 2 + [SHORT]
    (true, _), (actions, _) = played(policy(device="cuda"), words), played(policy(device="cuda", graphs=True), words)
    for chunk, same in zip(true, actions, strict=True):
        assert np.allclose(chunk, same, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_drawn_weights_give_finite_chunks_that_repeat(dtype: str, tmp_path: Path) -> None:
    obs = Observation(0.0, {"front": np.zeros((28, 28, 3), np.uint8)}, REST, np.zeros(7), 0.5)
    one, other = (policy(dtype=dtype) for _ in range(2))
    assert {weight.dtype for weight in one.model.parameters()} == {getattr(torch, dtype)}
    memories = one.new_memory(0), other.new_memory(0)
    for k in range(5):
        first, second = (
            actor.infer(obs, Context(SHORT), memory) for actor, memory in zip((one, other), memories, strict=True)
        )
        assert np.isfinite(first.values).all() and np.array_equal(first.values, second.values)
        assert int(memories[0].length[0]) == min(k + 1, 3)
