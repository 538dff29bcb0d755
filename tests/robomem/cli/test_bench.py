"""`robomem bench`: bad input, and a fair comparison."""

from pathlib import Path

import pytest
import torch

from policies.memoryvla.benchmark import Contest
from robomem.cli.configuration import BadSetting
from robomem.cli.contests import NotTheSame, Settings, over_floor, prepare, run
from robomem.cli.main import main
from robomem.report.roofline import Work
from tests.robomem.cli.call import summary_of
from tests.robomem.cli.random_policy import save_random_policy


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["policy", "task=all"], "3 tasks; choose one task: task=NAME"),
        (["policy", "policy=demonstrator"], "policy is sim.experts.Demonstrator, which has no weights"),
        (["policy", "seed=-1"], "seed is -1, expected 0 or more"),
        (["memory", "growth=10"], "growth is 10, expected 200 or more"),
        (["data", "seconds=0"], "seconds is 0.0, expected a finite number above 0"),
        (["joining", "joinings=[prefix]", "episodes=1"], "trained with max_delay=0; without training: guided"),
        (["joining", "delay_s=-1"], "delay_s is -1.0, expected 0 or more"),
        (["polizy"], "no bench 'polizy'; known: data, joining, memory, policy, published, sampler"),
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


def differing(seed: int) -> Contest:
    return Contest({"plain": lambda: torch.ones(2), "ours": lambda: torch.tensor([1.0, 1.001])}, [])


def test_what_is_not_the_same_is_not_compared() -> None:
    settings = Settings({"odd": {"_target_": f"{__name__}.differing"}}, rounds=1, threads=1, device="cpu", seed=0)
    with pytest.raises(NotTheSame, match=r"^odd: the plain way and ours differ by 1.0e-03 of the largest number$"):
        run(settings)


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadSetting, match="torch sees no GPU: robomem doctor"):
        prepare(threads=1, device="cuda")
    assert prepare(threads=1, device=None) == "cpu"


def test_how_far_a_gpu_is_from_what_it_could_do_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    floor = over_floor("a step", 3.0, [Work(6_476_000_000, 286)])
    assert floor["floor_ms"] == pytest.approx(4.689, abs=1e-3) and floor["over_floor"] == pytest.approx(0.64, abs=1e-3)
    assert capsys.readouterr().out.startswith("a step: 0.64 times the 4.69 ms")


def test_where_a_joining_chunk_takes_over_there_is_no_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.tasks.push_buttons.PushButtons.max_s", 1.5)
    path = save_random_policy(tmp_path / "policy.safetensors")
    assert main(["bench", "joining", f"policy.path={path}", "episodes=1", f"out={tmp_path}"]) == 0
    joinings = summary_of(tmp_path)["joinings"]
    assert joinings["none"]["takeovers"] == joinings["guided"]["takeovers"] > 0
    assert joinings["none"]["jump_mm"]["median"] > 0.1 and joinings["guided"]["jump_mm"]["p99"] < 1e-3
    assert joinings["guided"]["acceleration"]["p99"] > 0
