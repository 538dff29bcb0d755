"""Training end to end on small data: it resumes exactly, its file runs, and its labels are where the arm was going."""

import shutil
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from filelock import FileLock

from policies.action.incontext import InContextConfig
from policies.memoryvla.checkpoint import load_checkpoint, load_policy
from policies.memoryvla.frames import prepare, prepare_glances
from policies.memoryvla.train import TrainConfig, train
from robomem.control.cameras import Camera
from robomem.data.store import EpisodeStore
from robomem.errors import CheckpointError, SpecMismatch, StoreError
from robomem.learn.trainer import TrainerConfig
from robomem.types import Context, Observation
from tests.policies.demonstrations import CAMERAS, REST, SMALL, episode, glances, panda, stores

CONFIG = TrainConfig(
    model=SMALL,
    see=TrainerConfig(steps=6, lr=1e-3, warmup=2, checkpoint_every=2),
    remember=TrainerConfig(steps=6, lr=1e-3, warmup=2, checkpoint_every=2),
    act=TrainerConfig(steps=4, lr=1e-3, warmup=2, checkpoint_every=2),
    more_chunks=16,
    frames=8,
    glances=8,
    episodes=4,
    chunks=16,
    evaluate_every=4,
)


class Killed(Exception):
    """Stands for kill -9: nothing of the run's process is left but its folder."""


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(path)[0].state_dict())


@pytest.mark.parametrize(("stage", "at"), [("see", 3), ("remember", 5), ("act", 3)])
def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path, stage: str, at: int) -> None:
    data = stores(tmp_path / "demos")
    whole = train(CONFIG, data, panda(), tmp_path / "whole", {})

    def die(now: str, step: int, of: int, losses: dict[str, float]) -> None:
        if (now, step) == (stage, at):
            raise Killed

    with pytest.raises(Killed):
        train(CONFIG, data, panda(), tmp_path / "parts", {}, die)
    resumed = train(CONFIG, data, panda(), tmp_path / "parts", {})
    first, second = weights(whole), weights(resumed)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_checkpoint_runs_and_says_what_made_it(tmp_path: Path) -> None:
    seen: list[int] = []
    path = train(
        CONFIG,
        stores(tmp_path / "demos"),
        panda(),
        tmp_path / "run",
        {"commit": "abc"},
        evaluate=lambda policy, step: seen.append(step),
    )
    assert seen == [4, 6, 10]
    _, _, made_by = load_checkpoint(path)
    assert made_by["commit"] == "abc" and made_by["episodes"] == 8
    assert made_by["seeds"] == {"one": [0, 3], "two": [0, 3]} and made_by["remember_s"] > 0
    policy = load_policy(path, panda())
    images = {name: np.zeros((32, 32, 3), np.uint8) for name in ("front", "wrist")}
    chunk = policy.infer(Observation(1.0, images, REST, np.zeros(7), 1.0), Context("go"), policy.new_memory(0))
    assert chunk.values.shape == (4, 7) and chunk.t.tolist() == pytest.approx([1.0, 1.1, 1.2, 1.3])


def test_every_expert_and_objective_trains_runs_and_joins(tmp_path: Path) -> None:
    sizes = {"horizon": 4, "dim": 32, "heads": 2, "layers": 1, "cognitive_dim": 50, "perceptual_dim": 16}
    experts = (SMALL.expert, InContextConfig(**sizes, body_dim=11))
    data = stores(tmp_path / "demos")
    images = {name: np.zeros((32, 32, 3), np.uint8) for name in ("front", "wrist")}
    for expert, predicts in zip(experts, ("flow", "epsilon"), strict=True):
        sampler = replace(SMALL.sampler, predicts=predicts, max_delay=2)
        config = replace(CONFIG, model=replace(SMALL, expert=expert, sampler=sampler))
        path = train(config, data, panda(), tmp_path / predicts, {}, prepared=tmp_path / "frames")
        assert load_checkpoint(path)[0].config == config.model
        policy = load_policy(path, panda(), joining="prefix")
        memory = policy.new_memory(0)
        for t in (1.0, 1.2):
            old = memory.running
            chunk = policy.infer(Observation(t, images, REST, np.zeros(7), 1.0), Context("go"), memory)
            assert np.isfinite(chunk.values).all()
        assert old is not None and np.allclose(chunk.at(1.2)[0], old.at(1.2)[0], atol=1e-6)


def test_a_run_takes_over_the_encoder_of_another(tmp_path: Path) -> None:
    data = stores(tmp_path / "demos")
    train(CONFIG, data, panda(), tmp_path / "first", {})
    encoder = tmp_path / "first" / "encoder.safetensors"
    second = train(replace(CONFIG, seed=1, encoder=str(encoder)), data, panda(), tmp_path / "second", {})
    before, after = weights(encoder), weights(second)
    seen = [name for name in before if name.startswith("encoder.")]
    assert all(torch.equal(before[name].half().float(), after[name]) for name in seen)
    assert not torch.equal(before["bank.cognitive.gate.weigh.weight"], after["bank.cognitive.gate.weigh.weight"])


def test_labels_lead_from_where_the_arm_was_to_where_it_was_going(tmp_path: Path) -> None:
    table = prepare(stores(tmp_path / "demos"), panda(), SMALL, tmp_path / "frames")
    assert table.tasks == ("one", "two") and table.stride_s == pytest.approx(0.1)
    assert table.seeds == {"one": (0, 3), "two": (0, 3)}
    made = episode("two", 2, 68)
    first = table.first[6]
    frame = first + 10
    tool = panda().tool_pose(made.arrays["joint_pos"][20])
    due = panda().tool_pose(made.arrays["wanted"][26, :7])
    assert table.t[frame] == pytest.approx(1.0)
    assert table.actions[frame, 3, :3] == pytest.approx(due[:3] - tool[:3], abs=1e-6)
    assert table.actions[frame, 3, 6] == 1.0
    assert np.array_equal(table.images[frame, 1], made.arrays["images/wrist"][20])
    assert table.valid[table.first[7] - 1].tolist() == [1, 0, 0, 0]
    assert table.goal[frame] * 0.1 + [0.45, 0, 0] == pytest.approx(made.arrays["truth/goal"][20], abs=1e-6)


def test_prepared_frames_are_used_again_and_remade_when_the_data_grew(tmp_path: Path) -> None:
    data, folder = stores(tmp_path / "demos"), tmp_path / "frames"
    prepare(data, panda(), SMALL, folder)
    before = (folder / "images.npy").stat().st_mtime_ns
    prepare(data, panda(), SMALL, folder)
    assert (folder / "images.npy").stat().st_mtime_ns == before
    with EpisodeStore.open(tmp_path / "demos" / "one", write=True) as grown:
        grown.append(episode("one", 9, 50))
    table = prepare([EpisodeStore.open(tmp_path / "demos" / "one"), data[1]], panda(), SMALL, folder)
    assert len(table.task) == 9


def white(pictures: np.ndarray) -> np.ndarray:
    return np.full_like(pictures, 255)


def test_prepared_frames_are_remade_when_the_same_folder_holds_other_data(tmp_path: Path) -> None:
    path, folder = tmp_path / "one", tmp_path / "frames"
    front = {**CAMERAS["front"], "focal": 1.2}
    for cameras, change in ((CAMERAS, lambda it: it), (CAMERAS, white), ({**CAMERAS, "front": front}, white)):
        shutil.rmtree(path, ignore_errors=True)
        made = episode("one", 0, 40)
        pictures = change(made.arrays["images/front"])
        with EpisodeStore.create(path, {"cameras": cameras}) as store:
            store.append(replace(made, arrays={**made.arrays, "images/front": pictures}))
            table = prepare([store], panda(), SMALL, folder)
            tools = panda().tool_poses(made.arrays["joint_pos"])
        assert np.array_equal(table.images[:, 0], pictures[::2])
        seen = Camera(**cameras["front"]).project(made.arrays["truth/entities"], tools)
        np.testing.assert_allclose(table.pixels[:, 0], seen[::2], atol=1e-5)


class LongerTool:
    """The same arm with a tool that reaches 1 cm further out."""

    def tool_poses(self, joint_pos: np.ndarray) -> np.ndarray:
        return panda().tool_poses(joint_pos) + np.array([0.01, 0, 0, 0, 0, 0, 0])


def test_prepared_frames_are_remade_for_another_arm(tmp_path: Path) -> None:
    data, folder = stores(tmp_path / "demos"), tmp_path / "frames"
    before = np.array(prepare(data, panda(), SMALL, folder).proprio[:, 0])
    assert prepare(data, LongerTool(), SMALL, folder).proprio[:, 0] == pytest.approx(before + 0.01, abs=1e-6)


def test_the_index_of_prepared_frames_is_written_last_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    data, folder = stores(tmp_path / "demos"), tmp_path / "frames"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "replace", killed)
        prepare(data, panda(), SMALL, folder)
    assert not (folder / "index.json").exists()
    assert len(prepare(data, panda(), SMALL, folder).task) == 8


def test_a_table_in_use_stays_as_it_is_when_its_folder_is_made_anew(tmp_path: Path) -> None:
    data, folder = stores(tmp_path / "demos"), tmp_path / "frames"
    table = prepare(data, panda(), SMALL, folder)
    before = {name: np.array(column) for name, column in table.columns.items()}
    other = prepare(data[::-1], panda(), SMALL, folder)
    assert not np.array_equal(other.images, before["images"])
    assert all(np.array_equal(column, before[name]) for name, column in table.columns.items())


def test_runs_that_share_frames_wait_for_the_one_that_makes_them(tmp_path: Path) -> None:
    data, shared = stores(tmp_path / "demos"), tmp_path / "frames"
    shared.mkdir()
    run = Thread(target=train, args=(CONFIG, data, panda(), tmp_path / "run", {}), kwargs={"prepared": shared})
    with FileLock(shared / ".lock"):
        run.start()
        run.join(timeout=0.5)
        assert [path.name for path in shared.iterdir()] == [".lock"]
    run.join()
    assert (tmp_path / "run" / "policy.safetensors").exists()


def test_glances_join_what_the_encoder_learns_to_see_from(tmp_path: Path) -> None:
    data, seen = stores(tmp_path / "demos"), glances(tmp_path / "glances")
    table = prepare_glances(seen, panda(), SMALL, tmp_path / "frames")
    assert table.images.shape == (40, 2, 32, 32, 3) and [len(of) for of in table.of_task] == [20, 20]
    made = episode("two", 101, 20).arrays
    assert np.array_equal(table.images[25, 1], made["images/wrist"][5])
    assert table.places[25] * 0.1 + [0.45, 0, 0] == pytest.approx(made["truth/entities"][5], abs=1e-6)
    assert table.known[3].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]  # press the BLUE one
    assert table.named[3, 2].tolist() == pytest.approx([1.0, 1.0, 2.0])
    with_glances = train(CONFIG, data, panda(), tmp_path / "with", {}, glances=seen)
    again = train(CONFIG, data, panda(), tmp_path / "again", {}, glances=seen, prepared=tmp_path / "with" / "frames")
    without = train(CONFIG, data, panda(), tmp_path / "without", {})
    first, second, third = map(weights, (with_glances, again, without))
    name = "encoder.stem.mix.weight"
    assert torch.equal(first[name], second[name]) and not torch.equal(first[name], third[name])


def test_a_store_without_glances_is_named_before_the_long_work(tmp_path: Path) -> None:
    seen = glances(tmp_path / "glances")
    EpisodeStore.create(tmp_path / "glances" / "three").close()
    seen.append(EpisodeStore.open(tmp_path / "glances" / "three"))
    with pytest.raises(StoreError, match=r"no glance in .*three; collect some with: robomem collect glances="):
        train(CONFIG, stores(tmp_path / "demos"), panda(), tmp_path / "run", {}, glances=seen)
    assert not list((tmp_path / "run").rglob("*.npy"))


def test_failed_demonstrations_are_left_out(tmp_path: Path) -> None:
    with EpisodeStore.create(tmp_path / "demos") as store:
        failed = episode("one", 0, 40)
        store.append(replace(failed, info={**failed.info, "success": False}))
    with pytest.raises(StoreError, match="no successful episode"):
        prepare([EpisodeStore.open(tmp_path / "demos")], panda(), SMALL, tmp_path / "frames")


def test_a_wrong_camera_size_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecMismatch, match="camera 'front' recorded"):
        prepare(stores(tmp_path / "demos", size=16), panda(), SMALL, tmp_path / "frames")


def test_a_store_that_does_not_say_where_its_cameras_were_is_named(tmp_path: Path) -> None:
    with EpisodeStore.create(tmp_path / "one", {"cameras": {"front": CAMERAS["front"]}}) as store:
        store.append(episode("one", 0, 40))
    with pytest.raises(SpecMismatch, match="one does not say where camera 'wrist' was; collect it anew"):
        prepare([EpisodeStore.open(tmp_path / "one")], panda(), SMALL, tmp_path / "frames")


def at_rate(hz: float, path: Path) -> EpisodeStore:
    made = episode("one", 0, 40)
    with EpisodeStore.create(path, {"cameras": CAMERAS}) as store:
        store.append(replace(made, arrays={**made.arrays, "t": 3.0 + np.arange(40) / hz}))
    return EpisodeStore.open(path)


@pytest.mark.parametrize(("hz", "stride"), [(10, 1), (30, 3), (50, 5)])
def test_an_action_lasts_a_whole_number_of_ticks(tmp_path: Path, hz: float, stride: int) -> None:
    table = prepare([at_rate(hz, tmp_path / "one")], panda(), SMALL, tmp_path / "frames")
    assert len(table.t) == -(-40 // stride) and table.stride_s == pytest.approx(0.1)


def test_a_real_clock_shakes(tmp_path: Path) -> None:
    t = 3.0 + np.arange(40) / 20 + np.random.Generator(np.random.PCG64(0)).uniform(-0.002, 0.002, 40)
    made = episode("one", 0, 40)
    with EpisodeStore.create(tmp_path / "one", {"cameras": CAMERAS}) as store:
        store.append(replace(made, arrays={**made.arrays, "t": t}))
    with EpisodeStore.open(tmp_path / "one") as store:
        table = prepare([store], panda(), SMALL, tmp_path / "frames")
    assert len(table.t) == 20 and table.stride_s == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(("hz", "ticks"), [(15, "1.5"), (10.2, "1.02"), (5, "0.5"), (1, "0.1")])
def test_a_rate_that_does_not_fit_an_action_is_named(tmp_path: Path, hz: float, ticks: str) -> None:
    data = [*stores(tmp_path / "demos"), at_rate(hz, tmp_path / "odd")]
    with pytest.raises(SpecMismatch, match=rf"odd was recorded at {hz} Hz: an action of 0.1 s lasts {ticks} ticks"):
        prepare(data, panda(), SMALL, tmp_path / "frames")


def test_stores_of_two_rates_are_named(tmp_path: Path) -> None:
    data = [at_rate(20, tmp_path / "slow"), at_rate(40, tmp_path / "fast")]
    with pytest.raises(SpecMismatch, match=r"fast was recorded at 40 Hz, expected 20 Hz as in .*slow"):
        prepare(data, panda(), SMALL, tmp_path / "frames")


def test_the_table_says_where_things_are_in_the_pictures(tmp_path: Path) -> None:
    data = stores(tmp_path / "demos")
    table = prepare(data, panda(), SMALL, tmp_path / "frames")
    made, tools = data[0].read(0), panda().tool_poses(data[0].read(0)["joint_pos"])
    for view, name in enumerate(SMALL.encoder.cameras):
        seen = Camera(**CAMERAS[name]).project(made["truth/entities"], tools)
        np.testing.assert_allclose(table.pixels[:20, view], seen[::2], atol=1e-5)


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_bad_checkpoint_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "policy.safetensors"
    if damage == "truncated":
        whole = train(CONFIG, stores(tmp_path / "demos"), panda(), tmp_path / "run", {}).read_bytes()
        path.write_bytes(whole[:-100])
    elif damage == "foreign":
        path.write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=str(path)):
        load_policy(path, panda())
