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
    with (folder / "episodes.jsonl").open("w") as log:
        for row in rows:
            for seed in range(4):
                episode = {"setup": "0", "task": row.task, "arm": arm, "seed": seed, "success": seed < won}
                log.write(json.dumps(episode) + "\n")
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


def test_methods_are_compared_over_their_seeds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ours = [evaluation(tmp_path / f"ours{seed}" / "eval", won) for seed, won in enumerate((4, 3))]
    theirs = [evaluation(tmp_path / f"theirs{seed}" / "eval", won) for seed, won in enumerate((2, 1))]
    evals = f"evals={{ours:[{','.join(ours)}],theirs:[{','.join(theirs)}]}}"
    assert main(["compare", evals, f"out={tmp_path / 'out'}"]) == 0
    said = capfd.readouterr().out
    assert "ours, 2 runs" in said
    assert "theirs, 2 runs" in said
    summary = summary_of(tmp_path / "out")
    assert summary["medians"] == {"ours": "ours1/eval", "theirs": "theirs1/eval"}
    first, second = summary["methods"]
    assert (first["success"]["mean"]["mean"], second["success"]["mean"]["mean"]) == (0.875, 0.375)
    assert first["more"] == {}
    assert second["more"]["push_buttons"]["mean"] == -0.5
    assert second["more"]["push_buttons"]["high"] <= 0
    assert "theirs0/eval" in (tmp_path / "out" / "report.html").read_text()


def test_one_method_is_rated_too(tmp_path: Path) -> None:
    ours = [evaluation(tmp_path / f"ours{seed}", won) for seed, won in enumerate((4, 3))]
    with (tmp_path / "ours0" / "episodes.jsonl").open("a") as log:
        log.write('{"setup": "torn')
    assert main(["compare", f"evals={{ours:[{','.join(ours)}]}}", f"out={tmp_path / 'out'}"]) == 0
    assert [of["method"] for of in summary_of(tmp_path / "out")["methods"]] == ["ours"]


@pytest.mark.parametrize("evals", ["[1,2]", "{ours:[1]}", "{ours:[]}", "3", "{ours:x}"])
def test_what_is_no_list_of_folders_gets_one_line(capfd: pytest.CaptureFixture[str], evals: str) -> None:
    assert main(["compare", f"evals={evals}"]) == 2
    assert "expected folders of robomem eval" in capfd.readouterr().err


def test_methods_are_not_compared_on_different_episodes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ours, theirs = evaluation(tmp_path / "ours", 3), evaluation(tmp_path / "theirs", 3)
    log = tmp_path / "theirs" / "episodes.jsonl"
    log.write_text(log.read_text().replace('"seed": 3', '"seed": 4'))
    assert main(["compare", f"evals={{ours:[{ours}],theirs:[{theirs}]}}", f"out={tmp_path / 'out'}"]) != 0
    assert "an evaluation of 'theirs' is of other tasks or episodes than the first" in capfd.readouterr().err
    log.write_text(log.read_text().replace("true", "false"))
    assert main(["compare", f"evals={{ours:[{ours}],theirs:[{theirs}]}}", f"out={tmp_path / 'out'}"]) != 0
    assert "episodes.jsonl and summary.json do not tell of the same episodes" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("evals", "said"),
    [
        ([], "evals is [], expected folders of robomem eval: evals=[DIR,DIR,...]"),
        (["good/seed0", "good/../good/seed0"], "evals has a folder twice"),
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
