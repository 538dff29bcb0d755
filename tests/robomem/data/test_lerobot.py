"""Episodes go to LeRobotDataset v3 and come back."""

import numpy as np
import pytest

from robomem.data.benchmark import bench_data, make_content
from robomem.data.lerobot import export_lerobot, import_lerobot
from robomem.data.store import EpisodeStore
from robomem.errors import StoreError

EXACT = {"image": 0.0, "video": 12.0}  # mean difference of a pixel


@pytest.mark.parametrize("storage", ["image", "video"])
def test_an_episode_survives_the_way_to_lerobot_and_back(tmp_path, storage):
    make_content(tmp_path / "store", episodes=2, ticks=9, hz=20, seed=0)
    store = EpisodeStore.open(tmp_path / "store")
    done: list[int] = []
    assert export_lerobot(store, tmp_path / "lerobot", 20, storage == "video", progress=done.append) == 2
    assert done == [1, 2]
    with EpisodeStore.create(tmp_path / "back") as back:
        assert import_lerobot(tmp_path / "lerobot", back) == 2
        for number in range(2):
            ours, theirs = store.read(number), back.read(number)
            assert back.info(number)["instruction"] == store.info(number)["instruction"]
            for name in ("t", "joint_pos", "gripper", "sent"):
                np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-6, atol=1e-7)
            for camera in ("images/front", "images/wrist"):
                difference = np.abs(theirs[camera].astype(float) - ours[camera]).mean()
                assert theirs[camera].shape == ours[camera].shape and difference <= EXACT[storage]
    with pytest.raises(StoreError, match="already there"):
        export_lerobot(store, tmp_path / "lerobot", 20)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    with (
        EpisodeStore.create(tmp_path / "store") as store,
        pytest.raises(StoreError, match="is not a LeRobotDataset v3"),
    ):
        import_lerobot(tmp_path, store)


def test_the_benchmark_takes_the_content_of_a_store(tmp_path):
    make_content(tmp_path / "store", episodes=3, ticks=9, hz=20, seed=0)
    result = bench_data(tmp_path / "store", rounds=1, seconds=0.01, episodes=2)
    assert result["content"] == {"episodes": 2, "ticks": 18, "made_up": False}


def test_windows_come_ten_times_faster_than_from_lerobot():
    said: list[str] = []
    result = bench_data(rounds=2, seconds=0.1, episodes=2, ticks=30, progress=said.append)
    assert result["ratios"]["over_lerobot"] >= 10 and result["windows_per_s"] > 0
    assert [shape["frames"] for shape in result["shapes"]] == [1, 4]
    assert result["content"] == {"episodes": 2, "ticks": 60, "made_up": True}
    assert set(result["bytes"]) == {"robomem", "lerobot_video", "lerobot_image"} and len(said) == 7
