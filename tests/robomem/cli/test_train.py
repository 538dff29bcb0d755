"""`robomem train`, for real, on a few demonstrations: interrupted, it goes on; its policy runs."""

import signal
from pathlib import Path

import pytest

from robomem.cli.main import main
from tests.robomem.cli.call import robomem, start, summary_of

SMALL = (
    "task=push_buttons",
    "episodes=0",
    "method.config.see.steps=4",
    "method.config.remember.steps=40",
    "method.config.remember.checkpoint_every=1",
    "method.config.act.steps=2",
    "method.config.more_chunks=8",
    "method.config.episodes=2",
    "method.config.chunks=8",
    "method.config.frames=4",
    "method.config.glances=4",
)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos")
    answer = robomem("collect", "task=push_buttons", "episodes=2", "glances=20", f"out={folder}")
    assert answer.returncode == 0, answer.stderr
    return folder


def test_an_interrupted_training_goes_on_and_its_policy_runs(demos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with start("train", *SMALL, f"demos={demos}", f"out={out}") as process:
        losses = out / "remember" / "losses.jsonl"
        while not (losses.exists() and losses.stat().st_size):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
        process.send_signal(signal.SIGKILL)
        process.wait()
    answer = robomem("train", *SMALL, f"demos={demos}", f"out={out}")
    assert answer.returncode == 0, answer.stderr
    assert len((out / "remember" / "losses.jsonl").read_text().splitlines()) == 40
    assert (out / "report.html").stat().st_size > 10_000
    checkpoint = Path(summary_of(out)["checkpoint"])
    run = robomem("run", "task=push_buttons", f"policy.path={checkpoint}", f"out={tmp_path / 'episode'}")
    assert run.returncode == 0, run.stderr


def test_success_over_time_is_kept_whatever_a_kill_left_of_its_last_line(demos: Path, tmp_path: Path) -> None:
    words = (*SMALL, "episodes=1", "method.config.remember.steps=2", "method.config.evaluate_every=1")
    answer = robomem("train", *words, f"demos={demos}", f"out={tmp_path}")
    assert answer.returncode == 0, answer.stderr
    success = summary_of(tmp_path)["success"]
    assert [entry["step"] for entry in success] == [1, 2, 4]
    assert all(0 <= entry["push_buttons"] <= 1 for entry in success)
    with (tmp_path / "success.jsonl").open("a") as log:
        log.write('{"step": 4, "pu')  # as a kill leaves it
    again = robomem("train", *words, f"demos={demos}", f"out={tmp_path}")
    assert again.returncode == 0, again.stderr
    assert summary_of(tmp_path)["success"] == success


def test_whoever_brings_an_encoder_needs_no_glances(demos: Path, tmp_path: Path) -> None:
    (tmp_path / "push_buttons").symlink_to(demos / "push_buttons")
    encoder = tmp_path / "encoder.safetensors"
    answer = robomem("train", *SMALL, f"encoder={encoder}", f"demos={tmp_path}", f"out={tmp_path / 'run'}")
    assert answer.returncode == 1
    assert f"no checkpoint at {encoder}" in answer.stderr


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("max_chunk_age_s=0", "max_chunk_age_s is 0.0, expected a finite number above 0"),
        ("max_chunk_age_s=nan", "max_chunk_age_s is nan, expected a finite number above 0"),
        ("robot.hz=7", "expected a whole number"),
        ("robot.image_size=32", "camera 'front' gives (32, 32, 3), the method expects (64, 64, 3)"),
        ("robot.cameras=[front]", "the method needs camera 'wrist'; robot.cameras: front"),
        ("inference=threaded", "no setting 'inference'"),
    ],
)
def test_what_would_fail_at_the_first_evaluation_is_said_before_the_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], word: str, said: str
) -> None:
    words = (word, "task=push_buttons", f"demos={tmp_path / 'none'}", f"out={tmp_path / 'run'}")
    assert main(["train", *words]) == 2
    err = capfd.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_missing_demonstrations_are_named_with_how_to_make_them(tmp_path: Path) -> None:
    answer = robomem("train", f"demos={tmp_path / 'none'}", f"out={tmp_path / 'run'}")
    assert answer.returncode == 1
    assert "robomem collect" in answer.stderr.splitlines()[-1] and len(answer.stderr.splitlines()) == 1
