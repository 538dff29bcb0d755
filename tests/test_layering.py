"""Who may import whom (DESIGN 1), read from the import statements, and what importing really loads."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSES = ("robomem", "sim", "policies", "hardware")
MAY_IMPORT = {"robomem": {"robomem"}, **{house: {house, "robomem"} for house in HOUSES[1:]}}
NO_TORCH_ON_IMPORT = ("robomem/control", "robomem/corrections", "robomem/data", "robomem/cli", "hardware")
FILES = sorted(path.relative_to(ROOT) for house in HOUSES for path in (ROOT / house).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Absolute names of all modules that the statements below `tree` import; "." for a relative import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." if node.level else str(node.module)


def imported_on_import(tree: ast.Module) -> Iterator[str]:
    """The same, leaving out what only a call would import, and what only type checkers read."""
    for node in tree.body:
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not typing_only and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from imported(node)


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return child.stdout


def broken_rules(path: Path, source: str) -> list[str]:
    """What `source`, were it at `path`, imports against the rules."""
    tree = ast.parse(source)
    house = path.parts[0]
    broken = [
        f"{path} imports {name}: {house} may import only {', '.join(sorted(MAY_IMPORT[house]))}"
        for name in imported(tree)
        if name.split(".")[0] in set(HOUSES) - MAY_IMPORT[house]
    ]
    if path.as_posix().startswith(NO_TORCH_ON_IMPORT):
        broken += [
            f"{path} imports {name} at module level: the arm process must start without torch"
            for name in imported_on_import(tree)
            if name.split(".")[0] in ("torch", "diffusers", "lerobot")
        ]
    return broken


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_keep_the_layers(path: Path) -> None:
    assert broken_rules(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("robomem/cli/x.py", "def f():\n    from sim.robot import SimRobot"),
        ("sim/x.py", "import policies.memoryvla.policy"),
        ("policies/x.py", "from hardware import rig"),
        ("hardware/x.py", "import sim"),
        ("robomem/control/x.py", "import torch"),
        ("robomem/data/x.py", "try:\n    from torch import nn\nexcept ImportError:\n    nn = None"),
    ],
)
def test_a_wrong_import_is_found(path: str, source: str) -> None:
    assert len(broken_rules(Path(path), source)) == 1


@pytest.mark.parametrize("source", ["def f():\n    import torch", "if TYPE_CHECKING:\n    import torch"])
def test_a_late_torch_is_allowed(source: str) -> None:
    assert broken_rules(Path("robomem/data/x.py"), source) == []


@pytest.mark.parametrize("package", ["robomem/control", "robomem/data", "robomem/cli"])
def test_importing_reaches_no_torch(package: str) -> None:
    modules = [".".join(path.with_suffix("").parts) for path in FILES if path.as_posix().startswith(package + "/")]
    modules = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    loaded = json.loads(python(f"import json, sys, {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"))
    assert set(modules) <= set(loaded)
    assert [name for name in loaded if name in ("torch", "diffusers", "lerobot", "sim", "policies")] == []


@pytest.mark.parametrize("house", HOUSES[1:])
def test_the_generic_names_stay_empty(house: str) -> None:
    """A stray `sim` elsewhere on the path must not be mixed with ours: an empty __init__ has nothing to mix."""
    assert (ROOT / house / "__init__.py").read_text(encoding="utf-8").strip() == ""


def test_the_packages_are_those_of_this_checkout() -> None:
    files = python(
        "import hardware, policies, robomem, sim as s; [print(m.__file__) for m in (robomem, s, policies, hardware)]"
    )
    assert [Path(line).parent for line in files.split()] == [ROOT / house for house in HOUSES]
