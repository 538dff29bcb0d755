"""The command line: help, bad input, doctor."""

import time
from pathlib import Path

import pytest

from robomem.cli.main import BENCHES, main
from tests.robomem.cli.call import robomem, start, summary_of


def test_help_lists_every_command_in_half_a_second() -> None:
    took = []
    for _ in range(3):
        start = time.monotonic()
        answer = robomem("--help")
        took.append(time.monotonic() - start)
        assert answer.returncode == 0
        assert "doctor" in answer.stdout
    assert min(took) < 0.5


def test_no_command_prints_the_usage_and_fails() -> None:
    answer = robomem()
    assert answer.returncode == 2
    assert answer.stdout.startswith("usage: robomem <command>")


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("docter",)])
def test_nobody_reads_what_it_prints(words: tuple[str, ...]) -> None:
    with start(*words) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    if words == ("docter",):  # prints nothing there
        assert process.returncode == 2 and said.startswith("robomem docter: no command")
    else:
        assert (process.returncode, said) == (141, "")


def test_help_of_a_command_lists_its_settings() -> None:
    answer = robomem("doctor", "--help")
    assert answer.returncode == 0
    assert "min_disk_gb: " in answer.stdout


def test_help_lists_inherited_settings_and_every_setting_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--help"]) == 0
    settings = capsys.readouterr().out.split("settings:\n")[1].splitlines()
    assert [line.split(":")[0].strip() for line in settings] == [
        "out", "episodes", "seed", "workers", "minutes", "stories", "max_chunk_age_s", "delay_s",
    ]  # fmt: skip
    assert "  minutes: 3.5 " in settings[4]
    assert main(["collect", "--help"]) == 0
    assert "\n  robot:\n    disturbance: 0.015" in capsys.readouterr().out


def test_help_of_bench_lists_the_benches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n  {name} " in told for name in BENCHES)
    assert main(["bench", "policy", "--help"]) == 0
    assert "steps: 200" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["docter"], "no command 'docter'; known: "),
        (["doctor", "now"], "'now' is not setting=value; settings: min_disk_gb, out"),
        (["doctor", "disk=3"], "no setting 'disk'; known: min_disk_gb, out"),
        (["doctor", "+disk=3"], "no setting 'disk'; known: min_disk_gb, out"),
        (["doctor", "min_disk_gb=lots"], "min_disk_gb: Value 'lots'"),
        (["doctor", "min_disk_gb=-1"], "min_disk_gb is -1.0, expected 0 or more"),
        (["doctor", "min_disk_gb=[1"], "min_disk_gb=[1"),
        (["doctor", "out=pyproject.toml/x"], "cannot make the folder 'pyproject.toml/x'"),
    ],
)
def test_bad_input_gets_one_line_that_names_it(words: list[str], said: str) -> None:
    answer = robomem(*words)
    assert answer.returncode in (1, 2)
    assert said in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stdout == ""


def test_doctor_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    answer = robomem("doctor", "min_disk_gb=1e9", cwd=tmp_path)
    assert answer.returncode == 1
    assert "needed and missing: " in answer.stdout
    folder = Path(answer.stdout.splitlines()[-1])
    assert folder.parts[:2] == ("outputs", "doctor")
    summary = summary_of(tmp_path / folder)
    assert summary["command"] == "doctor"
    assert summary["versions"]["mujoco"]
    checks = {check["name"]: check for check in summary["checks"]}
    assert {"python, packages", "rendering", "checkpoint", "gpu", "real-time", "serial ports"} <= set(checks)
    assert "disk" in summary["missing"]
    assert "free 1e+09 GB" in checks["disk"]["remedy"]
    assert checks["rendering"]["ok"], checks["rendering"]["found"]
    assert "min_disk_gb: 1000000000.0" in (tmp_path / folder / "config.yaml").read_text(encoding="utf-8")


def test_doctor_survives_a_missing_renderer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", str(tmp_path / "none.json"))
    answer = robomem("doctor", f"out={tmp_path}")
    assert answer.returncode == 1
    checks = {check["name"]: check for check in summary_of(tmp_path)["checks"]}
    assert not checks["rendering"]["ok"]
    assert "libegl1" in answer.stdout


@pytest.mark.parametrize("words", [("run", "task=push_buttons"), ("collect", "episodes=1"), ("bench", "policy")])
def test_without_an_egl_library_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    for name in ("libEGL.so", "libEGL.so.1"):
        (tmp_path / name).touch()  # found first, and no library
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    answer = robomem(*words, f"out={tmp_path / 'out'}")
    assert answer.returncode == 1
    (said,) = [line for line in answer.stderr.splitlines() if line.startswith("robomem ")]
    assert "no picture can be rendered" in said and "apt-get install libegl1" in said
    assert "Traceback" not in answer.stderr


def test_pictures_are_drawn_whatever_mujoco_is_told_to_draw_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nothing-known")
    answer = robomem("run", "task=push_buttons", "policy=demonstrator", f"out={tmp_path}")
    assert answer.returncode == 0, answer.stderr
