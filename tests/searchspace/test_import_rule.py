"""The arrows of the house: `searchspace` and `studies` stand on the ground, `nas` on both, nothing on `nas`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "searchspace": {"nas", "studies", "optuna", "sqlalchemy", "alembic", "pandas"},
    "studies": {"nas", "searchspace", "torch", "torchvision", "optuna"},
}
NAMES_THAT_SAY_NOTHING = {"utils", "common", "core", "helpers", "misc"}


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, functions and type checking included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                found.add(node.args[0].value.split(".")[0])
    return found


def violations(root: Path) -> list[str]:
    found = []
    for package in ("searchspace", "studies", "nas"):
        for path in sorted((root / package).rglob("*.py")):
            wrong = imports(path) & FORBIDDEN.get(package, set())
            found += [f"{path.relative_to(root)} imports {name}" for name in sorted(wrong)]
            if {path.stem, *path.relative_to(root).parts} & NAMES_THAT_SAY_NOTHING:
                found.append(f"{path.relative_to(root)} has a name that says nothing")
    return found


def test_the_packages_keep_the_arrows() -> None:
    assert violations(ROOT) == []
    for package in ("searchspace", "studies", "nas"):
        assert len(list((ROOT / package).rglob("*.py"))) > 1, f"nothing was checked in {package}"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("searchspace/bad.py", "import optuna"),
        ("searchspace/blocks/bad.py", "def f():\n    from nas.search import run"),
        ("searchspace/bad.py", "from pandas.core import frame"),
        ("searchspace/bad.py", "import importlib\nimportlib.import_module('sqlalchemy.orm')"),
        ("studies/bad.py", "import torch.nn as nn"),
        ("studies/migrations/bad.py", "if TYPE_CHECKING:\n    from searchspace import Architecture"),
        ("nas/training/utils.py", ""),
        ("nas/core/search.py", ""),
    ],
)
def test_a_planted_file_is_found(tmp_path: Path, path: str, text: str) -> None:
    bad = tmp_path / path
    bad.parent.mkdir(parents=True)
    bad.write_text(text)
    assert len(violations(tmp_path)) == 1
    bad.write_text("from __future__ import annotations\nimport json\nfrom . import optuna, torch, nas\n")
    assert len(violations(tmp_path)) == (bad.stem != "bad")  # a name stays wrong; relative and plain imports are right
