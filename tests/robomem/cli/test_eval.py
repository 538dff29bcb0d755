"""`robomem eval` with policies whose weights are random."""

import json
from pathlib import Path

import numpy as np
import pytest

from robomem.cli.configuration import BadSetting, compose
from robomem.cli.eval import EPISODES, Settings, fingerprint, jobs
from robomem.cli.main import main
from robomem.cli.playing import play
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


def played(words: list[str], arms: list[str], *others: str) -> dict[tuple[str, int], str]:
    """The actions of two short episodes under each of `arms`, as a worker plays them."""
    settings: Settings = compose("eval", [*words, *others], Settings).settings
    wanted = [(arm, seed) for arm in arms for seed in (0, 1)]
    results = play("push_buttons", [0, 1], wanted, [], settings.parts, settings.max_chunk_age_s, "")
    return {(result["arm"], result["seed"]): result["actions_sha256"] for result in results}


def test_the_swapped_memory_is_the_other_episodes_also_after_an_interruption(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.tasks.push_buttons.PushButtons.max_s", 1.0)
    whole, rest = played(words, ["memory", "swapped"]), played(words, ["swapped"])
    assert rest == {key: actions for key, actions in whole.items() if key[0] == "swapped"}


def test_an_arm_that_keeps_nothing_cannot_give_it(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.tasks.push_buttons.PushButtons.max_s", 1.0)
    with pytest.raises(BadSetting, match="arm 'blank' keeps no memories that another arm could be given"):
        played(words, ["swapped"], "arms.swapped.memories_of=blank")


@pytest.mark.parametrize(
    ("word", "changed"),
    [
        ("policies.trained.path={other}", {"memory", "blank", "swapped"}),
        ("policies.twin.path={other}", {"no_memory"}),
        ("arms.swapped.memory.offset=0", {"swapped"}),
        ("tasks.push_buttons._target_=x", set(ARMS)),
        ("robot.disturbance=0.01", set(ARMS)),
        ("kinematics.mjcf=x", set(ARMS)),
        ("max_chunk_age_s=1", set(ARMS)),
        ("delay_s=0.2", set(ARMS)),
        ("policies.trained.joining=guided", {"memory", "blank", "swapped"}),
        ("workers=1", set()),
        ("tasks.guess_where._target_=x", set()),
    ],
)
def test_results_of_other_settings_are_not_taken_over(
    words: list[str], tmp_path: Path, word: str, changed: set[str]
) -> None:
    other = save_random_policy(tmp_path / "other.safetensors", seed=2)
    before: Settings = compose("eval", words, Settings).settings
    after: Settings = compose("eval", [*words, word.format(other=other)], Settings).settings
    prints = {arm: [fingerprint(made, "push_buttons", arm) for made in (before, after)] for arm in ARMS}
    assert {arm for arm, (one, two) in prints.items() if one != two} == changed


def test_other_weights_in_the_same_file_are_not_taken_over(words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    settings: Settings = compose("eval", [*words, f"policies.trained.path={path}"], Settings).settings
    prints = set()
    for seed in range(2):
        save_random_policy(path, seed=seed)
        prints.add(fingerprint(settings, "push_buttons", "memory"))
    assert len(prints) == 2


def test_another_geometry_in_the_same_file_is_not_taken_over(words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "arm.xml"
    settings: Settings = compose("eval", [*words, f"kinematics.mjcf={path}"], Settings).settings
    prints = set()
    for length in ("0.3", "0.4"):
        path.write_text(f'<mujoco><worldbody><geom size="{length}"/></worldbody></mujoco>', encoding="utf-8")
        prints.add(fingerprint(settings, "push_buttons", "memory"))
    assert len(prints) == 2


def test_a_demonstrator_is_refused_and_a_policy_is_not(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["eval", "policy@policies.trained=demonstrator", f"out={tmp_path}"]) == 2
    said = "policy@policies.trained is sim.experts.Demonstrator, which has no weights; choose"
    assert capsys.readouterr().err == f"robomem eval: {said} policy@policies.trained=memoryvla\n"
    twin: Settings = compose("eval", ["policy@policies.trained=memoryvla_no_memory"], Settings).settings
    assert twin.policies["trained"] == twin.policies["twin"]


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
        ("arm=swapped", "arm 'swapped' is given the memories of arm 'memory': arm=[memory,swapped]"),
        ("arm=[blank,swapped]", "arm 'swapped' is given the memories of arm 'memory': arm=[memory,swapped]"),
        ("arms.swapped.memories_of=swapped", "is given memories itself and has none for arm 'swapped'"),
        ("arms.blank.policy=twins", "no policy 'twins'; known: trained, twin"),
        ("arms.swapped.memories_of=no_memory", "which plays another policy"),
        ("inference=threaded", "no setting 'inference'"),
        ("max_chunk_age_s=0", "max_chunk_age_s is 0.0, expected a finite number above 0"),
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
