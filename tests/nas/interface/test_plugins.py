"""A user's own block is searched, exported and loaded in fresh interpreters, by --import and by entry point."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from command import in_process, python, refused

import searchspace

MODULE = '''
"""A family of the user's own: a convolution with a learnt gate on each channel; and a space of it."""

from typing import Literal

import torch
from torch import nn

from searchspace import Architecture, Stage, register_block
from searchspace.blocks import Block, BlockContext
from searchspace.record import Width
from searchspace.space import Dimension, SearchSpace
from searchspace.spaces import register_space


class Gated(nn.Module):
    def __init__(self, in_channels, width, stride):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, stride, 1)
        self.gate = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x):
        return self.conv(x).relu() * self.gate.sigmoid()


@register_block
class GatedBlock(Block):
    kind: Literal["gated"] = "gated"
    width: Width = 16

    def out_channels(self, in_channels, index=0):
        return self.width

    def build(self, in_channels, context: BlockContext):
        return Gated(in_channels, self.width, context.stride)


def body(choices, task):
    return Architecture(
        stages=(Stage(block=GatedBlock(width=choices["width"]), depth=choices["depth"], stride=2),),
        channels=task.channels, resolution=task.resolution, classes=task.classes,
    )


register_space(SearchSpace(
    name="gates", summary="gated convolutions",
    dimensions=(Dimension("width", (4, 8, 12, 16), ordered=True), Dimension("depth", (1, 2), ordered=True)), body=body,
))
'''

SEARCH = ("search", "--dataset", "digits", "--space", "gates", "--budget", "1", "--epochs", "1", "--limit-train", "200")


def make_module(folder: Path) -> Path:
    (folder / "my_blocks.py").write_text(MODULE)
    return folder


def make_package(folder: Path) -> Path:
    """A package as pip would install it, its entry point included."""
    make_module(folder)
    info = folder / "my_blocks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-blocks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nas.blocks]\nmine = my_blocks\n")
    return folder


PREDICT = """
import sys
{known}
import nas, numpy, searchspace
network = nas.load(sys.argv[1])
assert any(type(module).__name__ == "Gated" for module in network.modules())
print(network.predict(numpy.zeros((8, 8), numpy.uint8)).label in network.classes, network.card.params)
"""


@pytest.mark.parametrize("way", ["import", "entry point"])
def test_a_users_own_block_from_search_to_load(way: str, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    if way == "import":
        make_module(home)  # --import looks in the working directory too
        known, env = ("--import", "my_blocks"), {}
    else:
        make_package(packages)
        known, env = (), {"PYTHONPATH": _joined(packages)}
    found = in_process(*SEARCH, *known, "--json", cwd=home, env=env)
    assert found.code == 0, found.err
    assert found.document["best"]["architecture"]["stages"][0]["block"]["kind"] == "gated"
    exported = in_process("export", "--weights", "stored", "--out", "best", *known, cwd=home, env=env)
    assert exported.code == 0, exported.err
    architecture = (home / "best" / "architecture.json").read_text()
    assert "my_blocks" not in architecture + (home / "best" / "card.json").read_text()  # a kind, never a module
    first = "" if way == "entry point" else "import my_blocks"
    loaded = python(PREDICT.replace("{known}", first), "best", cwd=home, env=env)
    assert loaded.out == f"True {found.document['best']['params']}\n", loaded.err
    message = refused("predict", home / "best", "x.png")  # this process does not know the family
    assert "unknown kind 'gated'" in message
    assert "--import MODULE" in message
    assert "nas.blocks" in message


def _joined(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_a_name_inside_an_export_imports_nothing(bundle: Path, tmp_path: Path) -> None:
    """The architecture names a module that exists and would leave a file behind."""
    (tmp_path / "canary_block.py").write_text("open('sung', 'w').close()")
    file = bundle / "architecture.json"
    for kind in ("canary_block", "canary_block:Block", "canary_block.Block"):
        data = json.loads(file.read_text())
        data["stages"][0]["block"]["kind"] = kind
        (tmp_path / "net.json").write_text(json.dumps(data))
        assert "unknown kind" in refused("show", tmp_path / "net.json")
    assert not (tmp_path / "sung").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_thing", "no_such_thing"),
        ("raise SystemExit(3)", "SystemExit"),
        ("1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
        ("raise ValueError('one\\ntwo\\nthree')", "one"),
        (MODULE.replace('"gated"', '"conv"'), "taken"),
    ],
)
def test_a_plug_in_that_fails_is_named_in_one_line(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])  # --import adds the working directory
    (tmp_path / "bad_plug_in.py").write_text(code)
    message = refused("cost", "resnet18", "--import", "bad_plug_in")
    assert "--import bad_plug_in" in message
    assert said in message


def test_a_broken_entry_point_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_package(tmp_path)
    (tmp_path / "my_blocks.py").write_text("import no_such_thing")
    monkeypatch.syspath_prepend(tmp_path)
    message = refused("cost", "resnet18")
    assert "'mine'" in message
    assert "nas.blocks" in message


def test_this_process_knows_no_gates() -> None:
    """The control of the tests above: nothing leaked into the tests' own tables."""
    assert "gated" not in searchspace.blocks.BLOCKS
