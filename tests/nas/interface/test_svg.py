"""`nas show --svg`: a picture of anything that can be shown, whole or not at all, and plain refusals."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from command import done, refused
from crashes import Crash, crash_at, operations
from searched import Searched

from nas.bundle import load
from nas.errors import NasError
from nas.pictures import write_picture
from nas.result import open_study
from searchspace import Architecture, Stage, draw, reference
from searchspace.blocks import Conv

SMALL = Architecture(stages=(Stage(block=Conv(width=4)),), resolution=8, name="a & b")


def test_a_trial_a_reference_a_json_file_and_an_export_are_drawn(
    searched: Searched, exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.json").write_text(SMALL.to_json())
    trial = open_study(searched.storage).trial(searched.best).architecture
    for what, architecture in (
        (str(searched.best), trial),
        ("resnet18", reference("resnet18")),
        ("net.json", SMALL),
        (str(exported), trial),
    ):
        answer = done("show", what, "--svg", "net.svg", "--storage", searched.storage)
        assert answer.out == ""
        assert "written to net.svg" in answer.err
        assert (tmp_path / "net.svg").read_text(encoding="utf-8") == draw(architecture)  # the file before is replaced


def test_with_json_the_document_is_printed_too(tmp_path: Path) -> None:
    plain = done("show", "resnet18", "--json").document
    assert done("show", "resnet18", "--json", "--svg", "a b.svg").document == plain
    assert ElementTree.parse(tmp_path / "a b.svg").getroot().tag.endswith("svg")


def test_an_export_holds_the_picture_that_its_readme_shows(exported: Path, bundle: Path) -> None:
    architecture = Architecture.from_json((exported / "architecture.json").read_text())
    assert (exported / "architecture.svg").read_text(encoding="utf-8") == draw(architecture)
    (shown,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (exported / "README.md").read_text())
    assert shown == "architecture.svg"
    image = torch.rand(2, architecture.channels, architecture.resolution, architecture.resolution)
    expected = load(exported)(image)
    (bundle / "architecture.svg").write_text("<svg><script>changed</script></svg>")  # loading never reads it
    assert torch.equal(load(bundle)(image), expected)
    (bundle / "architecture.svg").unlink()  # and the first exports have none
    assert torch.equal(load(bundle)(image), expected)


def test_a_name_cannot_leave_its_line(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text(json.dumps(json.loads(SMALL.to_json()) | {"name": "\x1b[31m<script>\nred"}))
    answer = done("show", "net.json", "--svg", "net.svg")
    assert len(answer.err.splitlines()) == 1
    assert "\x1b" not in answer.err
    assert "<script>" not in (tmp_path / "net.svg").read_text()


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "absent" in refused("show", "resnet18", "--svg", tmp_path / "absent" / "x.svg")
    assert "file" in refused("show", "resnet18", "--svg", tmp_path / "file" / "x.svg")
    assert "x" * 20 in refused("show", "resnet18", "--svg", "x" * 300)
    refused("show", "resnet18", "--svg", tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "regular file" in refused("show", "resnet18", "--svg", tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    assert not [file for file in tmp_path.iterdir() if file.name.endswith(".tmp")]


def test_what_cannot_be_drawn_leaves_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / "net.svg").write_text("mine")
    refused("show", "no such network", "--svg", "net.svg")
    refused("show", "resnet18", "--resolution", "0", "--svg", "net.svg")
    assert (tmp_path / "net.svg").read_text() == "mine"


def test_a_picture_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "net.svg"
    picture = draw(SMALL)
    total = operations(lambda: write_picture(file, SMALL))
    assert total >= 4
    for number in range(total):
        file.write_text("before")
        with pytest.raises(Crash), crash_at(number, Crash(), for_ever=True):
            write_picture(file, SMALL)
        assert file.read_text() in ("before", picture)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "net.svg"
    refusals = 0
    for number in range(operations(lambda: write_picture(file, SMALL))):
        file.write_text("before")
        with suppress(NasError), crash_at(number, OSError(28, "No space left on device")):
            write_picture(file, SMALL)
            assert file.read_text() == draw(SMALL)
            continue
        refusals += 1
        assert [found.name for found in tmp_path.iterdir()] == ["net.svg"]
    assert refusals >= 3
