"""`robomem compare` on folders as `robomem eval` leaves them."""

import json
from pathlib import Path

import pytest

from robomem.cli.main import main
from robomem.report.statistics import eval_row, results
from tests.robomem.cli.call import summary_of


def evaluation(folder: Path, won: int, arm: str = "memory") -> str:
    rows = [
        eval_row(task, "p", arm, [True] * won + [False] * (4 - won), [1.0] * 4, [1] * 4)
        for task in ("push_buttons", "guess_where")
    ]
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"results": results(rows)}))
    return str(folder)


def test_the_median_is_told_kept_and_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folders = [evaluation(tmp_path / f"seed{seed}", won) for seed, won in enumerate((4, 1, 3))]
    assert main(["compare", f"evals=[{','.join(folders)}]", f"out={tmp_path / 'out'}"]) == 0
    said = [line for line in capfd.readouterr().out.splitlines() if line.endswith("median")]
    assert [line.split()[:4] for line in said] == [["seed2", "memory", "push_buttons", "75%"]]
    summary = summary_of(tmp_path / "out")
    assert summary["median"] == "seed2"
    assert summary["means"] == {"seed0": {"memory": 1.0}, "seed1": {"memory": 0.25}, "seed2": {"memory": 0.75}}
    assert "seed2" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("evals", "said"),
    [
        ([], "evals is empty, expected folders of robomem eval: evals=[DIR,DIR,...]"),
        (["good/seed0", "other/seed0"], "evals go by their folders' names, expected different ones"),
        (["good/seed0", "nowhere"], "holds no results; expected a folder of robomem eval that has ended"),
        (["good/seed0", "torn"], "holds no results; expected a folder of robomem eval that has ended"),
        (["good/seed0", "blank"], "blank has no arm 'memory'; it has: blank"),
    ],
)
def test_what_cannot_be_compared_gets_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], evals: list[str], said: str
) -> None:
    for folder in ("good/seed0", "other/seed0", "torn"):
        evaluation(tmp_path / folder, 3)
    evaluation(tmp_path / "blank", 3, "blank")
    whole = (tmp_path / "torn" / "summary.json").read_text()
    (tmp_path / "torn" / "summary.json").write_text(whole[: len(whole) // 2])
    folders = ",".join(str(tmp_path / folder) for folder in evals)
    assert main(["compare", f"evals=[{folders}]", f"out={tmp_path / 'out'}"]) != 0
    err = capfd.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
