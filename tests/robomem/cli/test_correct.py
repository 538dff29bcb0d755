"""`robomem correct parse`: words in, one JSON record a line out."""

import io
import json
import subprocess
import sys

import pytest

from robomem.cli.main import main
from robomem.corrections.record import Correction


def test_each_text_is_a_record_or_a_refusal_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["correct", "parse", "a bit higher", "go faster", "", "left=2"]) == 0
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    first = Correction.model_validate(said[0])
    assert (first.utterance, first.provenance.parser, first.provenance.episode) == ("a bit higher", "grammar", None)
    assert said[0]["ops"] == [
        {"kind": "translate", "axis": "z", "sign": 1, "magnitude": {"bin": "little"}, "frame": "base"}
    ]
    assert said[1] == {"refused": "'faster': words change no speed, no force and no limit"}
    assert [list(record) for record in said[2:]] == [["refused"], ["refused"]]


def test_lines_that_come_in_are_texts(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("the other drawer\nopen the gripper\n"))
    assert main(["correct", "parse"]) == 0
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [record["ops"][0]["kind"] for record in said] == ["replace_object", "gripper"]


def test_bytes_that_are_no_text_are_refused() -> None:
    words = [sys.executable, "-m", "robomem.cli.main", "correct", "parse", b"up \xff\xfe"]
    ran = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0
    assert "nothing that is said" in json.loads(ran.stdout)["refused"]


@pytest.mark.parametrize(
    ("words", "said"), [(["correct"], "usage: robomem correct"), (["correct", "prase"], "known: parse")]
)
def test_anything_else_gets_a_line_and_status_2(capfd: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(words) == 2
    told = capfd.readouterr()
    assert said in told.out + told.err
