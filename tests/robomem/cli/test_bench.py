"""`robomem bench`: bad input."""

from pathlib import Path

import pytest

from robomem.cli.main import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["policy", "task=all"], "3 tasks; choose one task: task=NAME"),
        (["policy", "policy=demonstrator"], "policy is sim.experts.Demonstrator, which has no weights"),
        (["policy", "seed=-1"], "seed is -1, expected 0 or more"),
        (["data", "seconds=0"], "seconds is 0.0, expected a finite number above 0"),
        (["polizy"], "no bench 'polizy'; known: data, policy"),
    ],
)
def test_bad_input_gets_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["bench", *words, f"out={tmp_path}"]) == 2
    err = capfd.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
