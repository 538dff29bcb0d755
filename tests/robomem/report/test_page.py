import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from robomem.report.page import write_compare_report, write_eval_report, write_run_report, write_train_report
from robomem.report.values import (
    CompareReport,
    Curve,
    DemoReport,
    Estimate,
    MethodRow,
    RunReport,
    RunRow,
    TaskNote,
    TrainReport,
)
from tests.robomem.report.content import evaluation, picture, snapshots, story

ATTACK = """</script><script>alert(1)</script><img src=x onerror="alert(2)">'"<!--{{ 7 * 7 }}"""
KINDS = ("eval", "demo", "compare", "train", "run")
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(HTMLParser):
    """Elements and their attributes; checks that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> inside {self.open}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def run_report(**changes: object) -> RunReport:
    t = np.arange(40) / 20
    joints = np.sin(t)[:, None] * np.ones(7)
    values: dict[str, object] = {
        "story": story(),
        "t": t,
        "wanted": joints + 0.1,
        "sent": joints,
        "gripper": np.ones(40),
        "late_s": np.full(40, 2e-4),
        "starved": np.arange(40) == 3,
        "human": np.arange(40) > 30,
        "refused": ((0.2, "joint 4 is out of range"),),
    }
    return RunReport(**{**values, **changes})  # type: ignore[arg-type]


def pages(folder: Path, text: str = "plain") -> dict[str, str]:
    """Every kind of page, with `text` wherever text may stand."""
    shown = story(text, task=text, arm=text, events=((1.0, text),), snapshots=snapshots())
    report = evaluation(
        tasks=(TaskNote("push_buttons", text, text, 0.3),), stories=(shown,), facts={text: text}, title=text, lead=text
    )
    curves = (Curve(text, [0, 1], [1.0, 0.5]),)
    write_eval_report(folder / "eval.html", report)
    write_eval_report(folder / "demo.html", DemoReport(report.rows, report.tasks, report.stories, report.facts))
    row = RunRow(text, text, {text: Estimate(0.5, 0.4, 0.6)}, 0.5, True)
    half = {text: Estimate(0.5, 0.4, 0.6)}
    methods = (MethodRow(text, 3, half), MethodRow(text, 3, half, half))
    write_compare_report(folder / "compare.html", CompareReport((row,), {text: text}, text, text, methods))
    write_train_report(folder / "train.html", TrainReport(curves, curves, {text: text}, text, text))
    write_run_report(
        folder / "run.html", run_report(story=shown, refused=((0.1, text),), facts={text: text}, lead=text)
    )
    return {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.html")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return pages(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return pages(tmp_path_factory.mktemp("attacked"), ATTACK)


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_shown_as_text(plain: dict[str, str], attacked: dict[str, str], kind: str) -> None:
    expected, page = Page(plain[kind]), Page(attacked[kind])
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in expected.elements]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "{{ 7 * 7 }}" in page.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_the_network_for_nothing(plain: dict[str, str], kind: str) -> None:
    text = plain[kind]
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'>)\s]+)""", text)
    assert [address for address in addresses if not address.startswith(("data:", "#"))] == []
    assert "fetch(" not in text and "import(" not in text and "@import" not in text
    assert "default-src 'none'" in text


def test_only_the_pages_own_script_may_run(plain: dict[str, str]) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", plain["demo"], flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in plain["demo"]


def test_a_page_is_the_same_for_the_same_values(plain: dict[str, str], tmp_path: Path) -> None:
    assert pages(tmp_path) == plain


def test_a_demo_of_three_episodes_stays_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    frames = [
        np.clip(picture(90, 240, 320) + noise.normal(0, 2, (240, 320, 3)), 0, 255).astype(np.uint8) for _ in range(60)
    ]
    long = story(frames=frames, snapshots=snapshots(150, 16, 0.2))
    write_eval_report(tmp_path / "demo.html", DemoReport(evaluation().rows, stories=(long, long, long)))
    assert (tmp_path / "demo.html").stat().st_size < 6e6


def test_an_evaluation_shows_rates_and_intervals(tmp_path: Path) -> None:
    write_eval_report(tmp_path / "eval.html", evaluation())
    text = " ".join(Page((tmp_path / "eval.html").read_text(encoding="utf-8")).text.split())
    assert "95 %" in text and "76 \u2013 99 %" in text and "no memory" in text


def test_pages_stand_without_episodes_videos_or_memory(tmp_path: Path) -> None:
    write_eval_report(tmp_path / "rows.html", evaluation(stories=(), tasks=(), facts={}))
    write_eval_report(tmp_path / "empty.html", evaluation(rows=(), stories=(), tasks=(), facts={}))
    write_train_report(tmp_path / "train.html", TrainReport(()))
    unfilmed = story(frames=(), snapshots=(), success=None, score=None, seed=None)
    nothing = np.zeros(0)
    none = run_report(
        story=unfilmed, t=nothing, wanted=np.zeros((0, 7)), sent=np.zeros((0, 7)), gripper=nothing, late_s=nothing,
        starved=nothing > 0, human=nothing > 0, refused=(),
    )  # fmt: skip
    write_run_report(tmp_path / "run.html", none)
    for path in tmp_path.glob("*.html"):
        assert "<video" not in path.read_text(encoding="utf-8")
        Page(path.read_text(encoding="utf-8"))


def test_commands_that_were_not_finite_leave_a_gap(tmp_path: Path) -> None:
    wanted = np.zeros((40, 7))
    wanted[3:6], wanted[8, 2], wanted[:, 5] = np.nan, np.inf, np.nan
    write_run_report(tmp_path / "run.html", run_report(wanted=wanted))
    drawn = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert not re.search(r'(?:d|points)="[^"]*\b(?:nan|inf)', drawn)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_draws_the_memory_of_a_step(tmp_path: Path) -> None:
    write_eval_report(tmp_path / "eval.html", evaluation(stories=(story(events=((0.2, "pressed green"),)),)))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += (
        f" --disable-component-update --disable-sync --virtual-time-budget=4000 --user-data-dir={tmp_path / 'profile'}"
    )
    dump = ["chromium", *flags.split(), "--dump-dom", (tmp_path / "eval.html").as_uri()]
    drawn = subprocess.run(dump, capture_output=True, text=True, check=True, timeout=60).stdout
    assert len(re.findall(r'<div class="entry', drawn)) == 3
    assert '<span class="held-now">2 entries at 1.0 s</span>' in drawn
    assert "<b>0.0 s</b><em>pressed green</em><span>100 % of its attention, one moment</span>" in drawn
