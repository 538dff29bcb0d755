"""`robomem run` and `robomem replay` with a policy whose weights are random."""

import json
from pathlib import Path
from typing import Any

import pytest

from robomem.cli.main import main
from robomem.data.episode import Episode
from robomem.data.store import EpisodeStore
from tests.robomem.cli.call import summary_of
from tests.robomem.cli.random_policy import QUICK, save_random_policy

COUNTS = {"ticks", "late", "starved", "refused", "skipped"}
KEYS = {"actions_sha256", "success", *COUNTS, "lateness_us", "seed", "commit", "versions"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_policy(tmp_path_factory.mktemp("checkpoint") / "random.safetensors")


@pytest.fixture(scope="module")
def ran(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert main(["run", "seed=3", *QUICK, f"policy.path={checkpoint}", f"out={folder}"]) == 0
    return folder


def test_a_run_leaves_its_episode_report_and_summary(ran: Path) -> None:
    summary = summary_of(ran)
    assert set(summary) >= KEYS
    assert (summary["command"], summary["task"], summary["seed"]) == ("run", "push_buttons", 3)
    assert set(summary["lateness_us"]) == {"p50", "p99", "p999", "max"}
    assert EpisodeStore.open(ran / "episodes").lengths.tolist() == [summary["ticks"]]
    page = (ran / "report.html").read_text(encoding="utf-8")
    assert "<video" in page
    assert summary["instruction"] in page


def test_the_same_seed_gives_the_same_actions(ran: Path, checkpoint: Path, tmp_path: Path) -> None:
    assert main(["run", "seed=3", *QUICK, f"policy.path={checkpoint}", f"out={tmp_path}"]) == 0
    assert summary_of(tmp_path)["actions_sha256"] == summary_of(ran)["actions_sha256"]


@pytest.mark.parametrize("against", ["simulation", "policy"])
def test_a_replay_is_equal_to_the_bit(ran: Path, checkpoint: Path, tmp_path: Path, against: str) -> None:
    words = [f"store={ran}", f"against={against}", f"policy.path={checkpoint}", f"out={tmp_path}"]
    assert main(["replay", *words]) == 0
    summary = summary_of(tmp_path)
    assert set(summary) >= KEYS
    assert summary["first_difference"] is None
    assert summary["actions_sha256"] == summary_of(ran)["actions_sha256"]


@pytest.mark.parametrize(("field", "against"), [("sent", "simulation"), ("images/wrist", "simulation")])
def test_a_replay_names_the_first_difference(ran: Path, tmp_path: Path, field: str, against: str) -> None:
    store = EpisodeStore.open(ran / "episodes")
    arrays: dict[str, Any] = dict(store.read(0, stop=30))
    arrays[field] = arrays[field].copy()
    arrays[field][20] += 1
    with EpisodeStore.create(tmp_path / "altered") as altered:
        altered.append(Episode(arrays, store.info(0)))
    assert main(["replay", f"store={tmp_path / 'altered'}", f"against={against}", f"out={tmp_path / 'out'}"]) == 0
    difference = summary_of(tmp_path / "out")["first_difference"]
    assert difference["tick"] == 20
    assert difference["field"].startswith(field.replace("images/", "obs.images."))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "policy.path=nowhere.safetensors"], "no checkpoint at nowhere.safetensors"),
        (["run", "policy.path={torn}"], "torn.safetensors"),
        (["run", "policy.path={checkpoint}", "robot.image_size=32"], "the policy expects (64, 64, 3)"),
        (["run", "policy.path={checkpoint}", "inference=threaded"], "it needs realtime=true"),
        (["run", "policy.path={checkpoint}", "policy.joining=blend"], "expected one of: none, prefix, guided"),
        (["run", "policy.path={checkpoint}", "inference.delay_s=-1"], "delay_s is -1, expected a finite time"),
        (["run", "max_chunk_age_s=inf"], "max_chunk_age_s is inf, expected a finite number above 0"),
        (["run", "seed=-1"], "seed is -1, expected 0 or more"),
        (["replay", "store=x", "episode=-1"], "episode is -1, expected 0 or more"),
        (["run", "task=all"], "3 tasks; choose one task: task=NAME"),
        (["replay", "store={ran}", "max_chunk_age_s=0"], "max_chunk_age_s is 0.0, expected a finite number above 0"),
        (["replay", "store={ran}", "inference=threaded"], "no setting 'inference'"),
        (["replay", "store={ran}", "against=policy", "policy=demonstrator"], "which has no weights"),
        (["replay"], "store must be given"),
        (["replay", "store={empty}"], "zarr.json"),
        (["replay", "store={ran}", "episode=4"], "has no episode 4"),
        (["replay", "store={ran}", "against=wall"], "against is 'wall', expected one of: simulation, policy"),
    ],
)
def test_bad_input_gets_one_line(
    ran: Path, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(checkpoint.read_bytes()[:-100])
    (tmp_path / "empty").mkdir()
    places = {"torn": torn, "checkpoint": checkpoint, "empty": tmp_path / "empty", "ran": ran}
    assert main([word.format(**places) for word in [*words, f"out={tmp_path / 'out'}"]]) in (1, 2)
    err = capfd.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_run_whose_chunks_come_late_and_join_replays_to_the_bit(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.tasks.push_buttons.PushButtons.max_s", 2.0)
    joining = [f"policy.path={checkpoint}", "policy.joining=guided"]
    late = ["inference.delay_s=0.2", f"out={tmp_path / 'run'}"]
    assert main(["run", "task=push_buttons", "seed=3", *joining, *late]) == 0
    again = ["replay", f"store={tmp_path / 'run'}", "against=policy", f"out={tmp_path / 'again'}"]
    assert main([*again, *joining]) == 0
    assert summary_of(tmp_path / "again")["first_difference"] is None
    assert main([*again, joining[0]]) == 0
    assert summary_of(tmp_path / "again")["first_difference"]["field"] == "wanted.joint_pos"


def test_a_policy_on_its_own_thread_keeps_up_with_real_time(checkpoint: Path, tmp_path: Path) -> None:
    words = ["inference=threaded", "realtime=true", *QUICK, f"policy.path={checkpoint}"]
    assert main(["run", "seed=3", *words, f"out={tmp_path}"]) == 0
    summary = summary_of(tmp_path)
    assert summary["lateness_us"]["max"] > 0
    assert summary["starved"] < summary["ticks"]
    json.dumps(summary, allow_nan=False)
