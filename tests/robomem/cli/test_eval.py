"""`robomem eval` with policies whose weights are random."""

import json
from pathlib import Path

import numpy as np
import pytest

from robomem.cli.configuration import compose
from robomem.cli.eval import EPISODES, Settings, fingerprint, jobs
from robomem.cli.main import main
from robomem.cli.runfolder import RunFolder
from robomem.cli.story import load_story, save_story
from robomem.report.values import EpisodeStory
from tests.robomem.cli.call import robomem, summary_of
from tests.robomem.cli.random_policy import QUICK, save_random_policy
from tests.robomem.report.content import story as made_up_story

ARMS = ["memory", "no_memory", "blank", "swapped"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("checkpoints")
    trained = save_random_policy(folder / "memory.safetensors", seed=1)
    twin = save_random_policy(folder / "no_memory.safetensors", memory=False, seed=1)
    return [f"policies.trained.path={trained}", f"policies.twin.path={twin}", *QUICK]


@pytest.fixture(scope="module")
def evaluated(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    answer = robomem("eval", "task=push_buttons", "episodes=2", "workers=1", *words, f"out={folder}")
    assert answer.returncode == 0, answer.stderr
    return folder


def test_every_arm_plays_every_seed_and_is_reported(evaluated: Path) -> None:
    summary = summary_of(evaluated)
    assert [row["arm"] for row in summary["results"]] == ARMS
    for row in summary["results"]:
        assert (row["task"], row["policy"], row["episodes"]) == ("push_buttons", "memoryvla", 2)
        assert 0 <= row["success"]["low"] <= row["success"]["mean"] <= row["success"]["high"] <= 1
        assert set(row["score"]) == {"mean", "low", "high"}
        assert row["steps_mean"] > 0
    page = (evaluated / "report.html").read_text(encoding="utf-8")
    assert "<video" in page
    assert all(arm in page for arm in ARMS)


def test_only_what_the_policy_remembers_differs_between_arms(evaluated: Path) -> None:
    lines = [json.loads(line) for line in (evaluated / EPISODES).read_text(encoding="utf-8").splitlines()]
    actions = {(line["arm"], line["seed"]): line["actions_sha256"] for line in lines}
    assert len(lines) == len(actions) == 8
    for seed in (50000, 50001):
        assert actions["blank", seed] == actions["no_memory", seed]  # the same weights, and nothing is ever held
        assert len({actions[arm, seed] for arm in ARMS}) == 3


def test_evaluating_again_plays_only_what_is_missing(evaluated: Path, words: list[str]) -> None:
    kept = (evaluated / EPISODES).read_text(encoding="utf-8").splitlines(keepends=True)
    before = summary_of(evaluated)["results"]
    (evaluated / EPISODES).write_text("".join(kept[:-1]) + '{"torn', encoding="utf-8")
    assert main(["eval", "task=push_buttons", "episodes=2", "workers=1", *words, f"out={evaluated}"]) == 0
    again = (evaluated / EPISODES).read_text(encoding="utf-8").splitlines(keepends=True)
    assert again[:7] == kept[:7]
    assert json.loads(again[-1]) == json.loads(kept[-1])
    assert summary_of(evaluated)["results"] == before


def test_results_of_other_weights_are_not_taken_over(words: list[str], tmp_path: Path) -> None:
    one: Settings = compose("eval", words, Settings).settings
    save_random_policy(tmp_path / "other.safetensors", seed=2)
    other: Settings = compose(
        "eval", [*words, f"policies.trained.path={tmp_path / 'other.safetensors'}"], Settings
    ).settings
    assert fingerprint(one) != fingerprint(other)


def test_no_episode_is_begun_after_the_time_is_up(words: list[str], tmp_path: Path) -> None:
    settings: Settings = compose("eval", [*words, "minutes=1e-9"], Settings).settings
    assert list(jobs(settings, RunFolder("eval", str(tmp_path)), set())) == []


def test_all_tasks_come_to_an_end_together(words: list[str], tmp_path: Path) -> None:
    settings: Settings = compose("eval", [*words, "episodes=3"], Settings).settings
    asked = list(jobs(settings, RunFolder("eval", str(tmp_path)), set()))
    assert [(job["name"], job["seeds"]) for job in asked] == [
        (task, pair) for pair in ([50000, 50001], [50002, 50003]) for task in settings.tasks
    ]
    assert all(seed < 50003 for job in asked for _, seed in job["wanted"])


def test_a_story_is_read_back_as_it_was(tmp_path: Path) -> None:
    told: EpisodeStory = made_up_story()
    save_story(tmp_path / "story.npz", told)
    read = load_story(tmp_path / "story.npz")
    assert (read.task, read.instruction, read.success, read.events) == (
        told.task, told.instruction, told.success, told.events,
    )  # fmt: skip
    np.testing.assert_array_equal(read.frames, told.frames)
    for one, other in zip(read.snapshots, told.snapshots, strict=True):
        assert one.t == other.t
        assert set(one.images) == set(other.images)
        for held, kept in zip(one.entries, other.entries, strict=True):
            assert (held.t_start, held.t_end, held.count, held.attention) == (
                kept.t_start, kept.t_end, kept.count, kept.attention,
            )  # fmt: skip
            np.testing.assert_array_equal(held.thumbnail, kept.thumbnail)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("minutes=0", "minutes is 0.0, expected more than 0"),
        ("arm=blind", "no arm 'blind'; known: all, blank, memory, no_memory, swapped"),
        ("arm=swapped", "an arm that swaps memories needs another arm"),
        ("policies.trained.path=nowhere", "no checkpoint at nowhere"),
    ],
)
def test_bad_input_gets_one_line(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], override: str, said: str
) -> None:
    assert main(["eval", "task=push_buttons", "episodes=1", *words, override, f"out={tmp_path}"]) in (1, 2)
    err = capfd.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
