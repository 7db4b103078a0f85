"""Commands that need no network do not wait for torch, and the public names resolve whatever was imported before."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import python
from searched import Searched

import nas

LOADED = """
import sys
from click.testing import CliRunner
from nas.cli import main
result = CliRunner().invoke(main, sys.argv[1:])
assert result.exit_code == 0, result.output
print(sorted({name.split(".")[0] for name in sys.modules} & {"torch", "optuna", "torchvision", "sklearn", "PIL"}))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["search", "--help"], ["rank"], ["rank", "--pareto", "params", "--json"], ["studies"]]
)
def test_torch_is_not_loaded(arguments: list[str], searched: Searched, tmp_path: Path) -> None:
    answer = python(LOADED, *arguments, cwd=tmp_path, env={"NAS_STORAGE": searched.storage})
    assert (answer.code, answer.out) == (0, "[]\n"), answer.err


def test_the_check_sees_torch(tmp_path: Path) -> None:
    """The control."""
    assert "torch" in python(LOADED, "cost", "vgg11_bn", cwd=tmp_path).out


def test_import_nas_loads_no_torch(tmp_path: Path) -> None:
    answer = python("import nas, sys; print('torch' in sys.modules, 'optuna' in sys.modules)", cwd=tmp_path)
    assert answer.out == "False False\n"


def test_every_public_name_resolves_after_any_submodule(tmp_path: Path) -> None:
    """A submodule named like a public function would hide it, once imported."""
    names = [path.stem for path in Path(nas.__file__).parent.glob("*.py") if not path.stem.startswith("__")]
    folders = [path.parent.name for path in Path(nas.__file__).parent.glob("*/__init__.py")]
    assert not set(names + folders) & set(nas.__all__)
    code = """
import importlib, inspect, sys
for name in sys.argv[1:]:
    importlib.import_module("nas." + name)
import nas
for name in nas.__all__:
    assert not inspect.ismodule(getattr(nas, name)), name
from nas import *
assert callable(search) and callable(load)
assert set(nas.__all__) <= set(dir(nas))
try:
    nas.serach
except AttributeError as error:
    print(error)
"""
    assert python(code, *names[::-1], cwd=tmp_path).out == "module 'nas' has no attribute 'serach'\n"


def test_the_type_checker_and_python_see_the_same_names() -> None:
    assert sorted(nas.__all__) == nas.__all__
    assert set(nas.__all__) == set(nas._NAMES)
