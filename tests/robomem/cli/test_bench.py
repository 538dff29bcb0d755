"""`robomem bench`: bad input, and a fair comparison."""

from pathlib import Path

import pytest
import torch

from robomem.cli.contests import NotTheSame, Settings, run
from robomem.cli.main import main
from tests.robomem.cli.call import summary_of


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["policy", "task=all"], "3 tasks; choose one task: task=NAME"),
        (["policy", "policy=demonstrator"], "policy is sim.experts.Demonstrator, which has no weights"),
        (["policy", "seed=-1"], "seed is -1, expected 0 or more"),
        (["memory", "growth=10"], "growth is 10, expected 200 or more"),
        (["data", "seconds=0"], "seconds is 0.0, expected a finite number above 0"),
        (["polizy"], "no bench 'polizy'; known: data, memory, policy, sampler"),
    ],
)
def test_bad_input_gets_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["bench", *words, f"out={tmp_path}"]) == 2
    err = capfd.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


SMALL = [f"contests.{name}.{size}" for name in ("dit_s", "dit_b") for size in ("layers=1", "dim=64", "heads=4")]


def test_the_sampler_is_timed_against_the_plain_way(tmp_path: Path) -> None:
    assert main(["bench", "sampler", "rounds=2", *SMALL, f"out={tmp_path}"]) == 0
    summary = summary_of(tmp_path)
    assert set(summary["ratios"]) == {"dit_s", "dit_b"} and summary["rounds"] == 2
    for name, contest in summary["contests"].items():
        assert set(contest["ms"]) == {"plain", "lean", "ours"}
        assert summary["ratios"][name] == pytest.approx(contest["ms"]["plain"] / contest["ms"]["ours"])
        assert 0 <= contest["difference"] < 1e-4


def test_a_memory_step_is_timed_against_the_plain_way(tmp_path: Path) -> None:
    sizes = {"cognitive_dim": 64, "tokens": 8, "perceptual_dim": 32, "held_dim": 16, "held_tokens": 4}
    words = [f"memory.{name}={value}" for name, value in sizes.items()]
    more = ["memory.slots=[4,8]", "rounds=2", "growth=200", "sessions=3"]
    assert main(["bench", "memory", *words, *more, f"out={tmp_path}"]) == 0
    summary = summary_of(tmp_path)
    ms, ratios = summary["ms"], summary["ratios"]
    assert set(ms) == {f"{kind}_L{length}" for kind in ("plain", "compatible", "native") for length in (4, 8)}
    assert ratios["compatible_L4"] == pytest.approx(ms["plain_L4"] / ms["compatible_L4"])
    assert ratios["compatible_L8_over_L4"] == pytest.approx(ms["compatible_L8"] / ms["compatible_L4"])
    assert ratios["native_over_compatible"] == pytest.approx(ms["compatible_L4"] / ms["native_L4"])
    assert max(summary["difference"].values()) < 1e-4 and summary["sessions"]["difference"] < 1e-4
    assert [row["steps"] for row in summary["growth"]] == [100, 200]
    assert summary["growth"][0]["bytes"] == summary["growth"][1]["bytes"] > 0
    assert 0 < summary["parameters"]["native"] < summary["parameters"]["compatible"]


def differing(seed: int) -> dict[str, object]:
    return {"plain": lambda: torch.ones(2), "ours": lambda: torch.tensor([1.0, 1.001])}


def test_what_is_not_the_same_is_not_compared() -> None:
    settings = Settings({"odd": {"_target_": f"{__name__}.differing"}}, rounds=1, threads=1, seed=0)
    with pytest.raises(NotTheSame, match=r"^odd: the plain way and ours differ by 1.0e-03 of the largest number$"):
        run(settings)
