"""What may not be in the repository: pickle, addresses of package indexes, paths of one machine, large files."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LISTED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
TRACKED = [ROOT / name for name in LISTED.split("\0") if name and (ROOT / name).is_file()]
LOCK = ROOT / "requirements.lock"
MAX_BYTES = 20_000_000
UPSTREAM = ROOT / "tests/policies/published"  # where upstream's checkpoints, which are pickles, are made to be read
PICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
MACHINE_PATH = re.compile(r"(?<![\w.~])/(work|root|home|Users)/\w")
PACKAGE_INDEX = re.compile(r"--(extra-)?index-url|--find-links|--hash=|https?://[^\s\"']*(pypi|simple)[./]")


def text_of(path: Path) -> str:
    """Content of a text file; "" of a binary one."""
    content = path.read_bytes()
    return "" if b"\0" in content else content.decode("utf-8")


def found_in(paths: list[Path], pattern: re.Pattern[str]) -> list[str]:
    """Where `pattern` is found, with what it matched."""
    return [f"{path.relative_to(ROOT)}: {match[0]}" for path in paths if (match := pattern.search(text_of(path)))]


def pickling(source: str) -> Iterator[str]:
    """Statements in `source` that pickle or unpickle, unless nothing but weights comes of it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if ast.unparse(node) == "from pickle import UnpicklingError":
                continue
            names = [str(node.module)] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if {name.split(".")[0] for name in names} & PICKLERS:
                yield ast.unparse(node)
        if isinstance(node, ast.Call):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            called = ast.unparse(node.func)
            if called == "torch.load" and given.get("weights_only") == "True":
                continue
            if given.get("allow_pickle", "False") != "False" or called in (
                "torch.load",
                "torch.save",
                "pd.read_pickle",
            ):
                yield ast.unparse(node)


def test_no_file_pickles() -> None:
    sources = {path.relative_to(ROOT): text_of(path) for path in TRACKED if path.suffix == ".py"}
    found = [(path, line) for path, source in sources.items() for line in pickling(source)]
    assert [f"{path}: {line}" for path, line in found if ROOT / path.parent != UPSTREAM] == []
    assert {line.split("(")[0] for _, line in found} == {"torch.save"}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import loads",
        "from pickle import UnpicklingError, loads",
        "np.load(f, allow_pickle=True)",
        "torch.load('x')",
        "torch.load('x', weights_only=False)",
    ],
)
def test_pickling_would_be_found(source: str) -> None:
    assert len(list(pickling(source))) == 1


def test_no_file_names_this_machine() -> None:
    assert found_in(TRACKED, MACHINE_PATH) == []


def test_no_file_names_a_package_index() -> None:
    assert found_in([path for path in TRACKED if path.suffix not in (".py", ".md")], PACKAGE_INDEX) == []


def test_the_lock_file_holds_pins_only() -> None:
    lines = text_of(LOCK).splitlines()
    assert len(lines) > 50
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.!+-]+( ; .+)?", line)] == []


def test_no_file_is_large() -> None:
    assert [path.relative_to(ROOT) for path in TRACKED if path.stat().st_size > MAX_BYTES] == []


def test_the_lock_file_pins_what_the_project_asks_for() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    pins = {line.split("==")[0]: line.split("==")[1].split()[0] for line in text_of(LOCK).splitlines()}
    lines = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = [Requirement(line) for line in chain.from_iterable(lines)]
    assert [str(wish) for wish in asked if not wish.specifier.contains(pins.get(wish.name, "0"))] == []
    assert {wish.name for wish in asked} <= set(pins)
