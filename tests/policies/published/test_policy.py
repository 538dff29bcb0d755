"""The published MemoryVLA behind the Policy interface."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from scipy.spatial.transform import Rotation

from policies.published.actions import ActionRange, Motion
from policies.published.checkpoint import load_policy
from policies.published.policy import PublishedPolicy, middle
from robomem.control.plan import Plan
from robomem.errors import CheckpointError, RobomemError
from robomem.memory.state import MemoryState
from robomem.types import Context, JointCommand, Observation
from tests.contracts import SavedMemoryContract
from tests.policies.demonstrations import REST, panda
from tests.policies.published.run_folder import STATISTICS, save_run, upstream_weights
from tests.policies.published.test_convert import converted


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return converted(save_run(folder, {"model": upstream_weights()}), folder)


def made(checkpoint: Path, **settings: object) -> PublishedPolicy:
    return load_policy(checkpoint, panda(), device="cpu", image_size=40, executed=3, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def policy(checkpoint: Path) -> PublishedPolicy:
    return made(checkpoint)


def look(t: float, seed: int = 0) -> Observation:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    return Observation(t, {"front": pixels}, REST, np.zeros(7), 0.5)


class TestContract(SavedMemoryContract):
    @pytest.fixture
    def obs(self) -> Observation:
        return look(1.0)

    @pytest.fixture
    def context(self) -> Context:
        return Context("push the red button")


def test_a_chunk_moves_on_from_the_tool_by_what_the_actions_say(policy: PublishedPolicy) -> None:
    obs, context = look(3.0), Context("push the red button")
    chunk = policy.infer(obs, context, policy.new_memory(4))
    shown = middle(obs.images["front"], 0.9)[None, None]
    (actions,) = policy.step(shown, [context.instruction], np.array([3.0]), policy.new_memory(4))
    start = panda().tool_pose(REST)
    assert chunk.t.tolist() == pytest.approx([3.0, 3.2, 3.4, 3.6, 3.8, 4.0])
    assert chunk.values[0] == pytest.approx(start)
    assert chunk.values[1:, :3] == pytest.approx(start[:3] + np.cumsum(actions[:, :3], axis=0))
    assert set(chunk.gripper) <= {0.0, 1.0} and chunk.gripper[1:].tolist() == actions[:, 6].tolist()
    assert policy.period == pytest.approx(0.6)


def test_the_loop_can_follow_a_chunk(policy: PublishedPolicy) -> None:
    obs = look(0.0)
    chunk = policy.infer(obs, Context("push the red button"), policy.new_memory(0))
    plan = Plan.take_up(chunk, obs, panda())
    command = plan.command_at(0.1, JointCommand(REST, 0.5))
    reached = panda().tool_pose(command.joint_pos)
    assert reached[:3] == pytest.approx((chunk.values[0, :3] + chunk.values[1, :3]) / 2, abs=2e-3)


def test_the_banks_count_queries_and_their_entries_are_dated_in_seconds(policy: PublishedPolicy) -> None:
    def fused(times: tuple[float, ...]) -> tuple[MemoryState, list[float]]:
        memory = policy.new_memory(0)
        chunks = [policy.infer(look(t), Context("go"), memory) for t in times]
        return memory, chunks[-1].gripper.tolist()

    (memory, one), (_, other) = fused((5.0, 5.1, 9.0)), fused((0.0, 0.6, 9.0))
    assert one == other
    assert [entry.start for entry in memory.entries()] == pytest.approx([5.0, 5.1, 9.0])
    assert all(entry.thumbnail is not None for entry in memory.entries())


def test_many_sessions_go_on_together(policy: PublishedPolicy) -> None:
    shown = [np.stack([look(0, seed).images["front"][None] for seed in (7 * k, 7 * k + 1)]) for k in range(5)]
    words = ["push the red button", "open the drawer"]
    both, first = policy.new_memory(2, sessions=2), policy.new_memory(2)
    for images in shown:
        now = np.array([5.0, 2.0])
        actions, alone = policy.step(images, words, now, both), policy.step(images[:1], words[:1], now[:1], first)
        assert actions.shape == (2, 5, 7)
        assert actions[0] == pytest.approx(alone[0], abs=1e-4)
        assert not np.allclose(actions[0], actions[1])
    assert both.step == 5 and both.length.tolist() == [3, 3]


def test_actions_come_back_to_the_units_of_the_data_set() -> None:
    known = ActionRange.of(STATISTICS["bridge_orig"])
    low, high = (np.array(STATISTICS["bridge_orig"]["action"][name]) for name in ("q01", "q99"))
    ends = np.array([[-1.0] * 6 + [0.49], [1.0] * 6 + [0.5], [9.0] * 6 + [1.7], [0.0] * 6 + [-3.0]])
    actions = known.actions_out(ends)
    assert actions[0, :6] == pytest.approx(low[:6]) and actions[1, :6] == pytest.approx(high[:6])
    assert actions[2, :6] == pytest.approx(high[:6])  # clipped
    assert actions[3, :6] == pytest.approx((low + high)[:6] / 2)
    assert actions[:, 6].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert ends[2, 0] == 9.0  # not changed in place


def test_without_a_mask_all_numbers_were_scaled() -> None:
    action = {"q01": [0.0] * 7, "q99": [2.0] * 7}
    assert ActionRange.of({"action": action}).actions_out(np.ones((1, 7))).tolist() == [[2.0] * 7]


@pytest.mark.parametrize("turns", ["euler", "rotvec"])
def test_turns_follow_each_other_along_the_base_axes(turns: str) -> None:
    start = np.concatenate([[0.4, 0.1, 0.3], Rotation.from_euler("xyz", [0.3, -0.2, 1.0]).as_quat(scalar_first=True)])
    actions = np.random.default_rng(0).normal(size=(3, 7)) * 0.3
    poses = Motion(0.05, 0.5, turns).poses(start, actions)  # type: ignore[arg-type]
    turned = Rotation.from_quat(start[3:], scalar_first=True)
    for pose, action in zip(poses[1:], actions, strict=True):
        read = Rotation.from_rotvec if turns == "rotvec" else lambda angles: Rotation.from_euler("xyz", angles)
        turned = read(0.5 * action[3:6]) * turned
        assert (Rotation.from_quat(pose[3:], scalar_first=True) * turned.inv()).magnitude() < 1e-9
    assert poses[-1, :3] == pytest.approx(start[:3] + 0.05 * actions[:, :3].sum(axis=0))


def test_the_middle_of_a_picture_is_shown_as_upstream_does() -> None:
    image = np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8)
    kept = Picture.fromarray(image).crop((6, 6, 218, 218)).resize((224, 224), Picture.Resampling.LANCZOS)
    assert np.array_equal(middle(image, 0.9), np.asarray(kept))
    assert middle(image, 1.0) is image


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"crop": 0.0}, "crop is 0.0"),
        ({"action_dt": float("nan")}, "action_dt is nan"),
        ({"cameras": ()}, "there is a camera"),
        ({"cameras": ("front", "wrist")}, "2 cameras, the network sees 1"),
        ({"turns": "quaternion"}, "turns is 'quaternion'"),
    ],
)
def test_a_deployment_that_cannot_be_is_named(checkpoint: Path, settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made(checkpoint, **settings)


def test_more_actions_than_a_chunk_has_cannot_be_executed(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="executed is 6, a chunk has 5 actions"):
        load_policy(checkpoint, panda(), device="cpu", executed=6)


def test_the_data_set_is_chosen_by_name(tmp_path: Path) -> None:
    several = STATISTICS | {"fractal": STATISTICS["bridge_orig"]}
    path = converted(save_run(tmp_path, {"model": upstream_weights()}, statistics=several), tmp_path)
    made(path, dataset="fractal")
    with pytest.raises(RobomemError, match="no data set 'None'; known: bridge_orig, fractal"):
        made(path)


def test_weights_keep_the_type_that_is_asked_for(checkpoint: Path) -> None:
    half = made(checkpoint, dtype="bfloat16").model
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    assert all(buffer.dtype == torch.float32 for _, buffer in half.named_buffers())
    with pytest.raises(RobomemError, match="no dtype 'int4'"):
        made(checkpoint, dtype="int4")


@pytest.mark.parametrize("damage", ["missing", "torn", "foreign", "no tokenizer"])
def test_a_checkpoint_that_cannot_be_loaded_is_named(checkpoint: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "policy.safetensors"
    content = checkpoint.read_bytes()
    if damage != "missing":
        path.write_bytes({"torn": content[:-100], "foreign": b"not numbers" * 9}.get(damage, content))
    with pytest.raises(CheckpointError, match="tokenizer" if damage == "no tokenizer" else str(path)) as caught:
        made(path)
    assert len(str(caught.value).splitlines()) == 1


def test_the_shipped_policy_s_file_is_told_apart() -> None:
    shipped = Path(__file__).parents[3] / "policies/memoryvla/checkpoints/memory.safetensors"
    with pytest.raises(CheckpointError, match="expected 'robomem published memoryvla 1'"):
        made(shipped)


def test_another_instruction_is_another_chunk(policy: PublishedPolicy) -> None:
    one, other = (policy.infer(look(0.0), Context(words), policy.new_memory(0)) for words in ("push red", "push blue"))
    assert not np.allclose(one.values, other.values)
    same = policy.infer(replace(look(0.0), t=2.0), Context("push red"), policy.new_memory(0))
    assert np.array_equal(one.values, same.values)
