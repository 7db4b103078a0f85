"""Every command of the README and of the user's guides runs, on the digits in place of a download."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ["--budget", "5", "--epochs", "1", "--seed", "0"]  # five results are the fewest that can be explained


def fences(path: str, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall((ROOT / path).read_text()) if kind == language]


def commands(path: str) -> list[str]:
    """Each command of a page; `a && b` gives both."""
    lines = [line.strip() for body in fences(path, "bash") for line in body.splitlines()]
    return [part.strip() for line in lines if line for part in line.split("&&")]


def small(command: str) -> list[str]:
    """The command as typed but for what costs a download or an hour."""
    words = shlex.split(command)
    if words[0] == "python":
        return words[1:]
    if words[1] == "search":
        if "--dataset" not in words:
            words += ["--dataset", "digits"]
        for option in ("--budget", "--limit-train", "--space"):
            if option in words:
                del words[words.index(option) : words.index(option) + 2]
        words += [*SMALL, "--space", "tiny"]
    if words[1] == "train":
        words[words.index("--epochs") + 1] = "1"
    if words[1] == "export":
        words += ["--epochs", "2"]
    if words[1] == "confirm":
        words = ["nas", "confirm", "--top", "2", "--seeds", "2", "--epochs", "1", "--baselines", "resnet20"]
    if "--fit" in words:
        words += ["--epochs", "1", "--seeds", "1"]
    return [{"17": "1", "trial:17": "trial:1", "cifar10": "digits"}.get(word, word) for word in words]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a few images of two classes, as the README's commands name them."""
    from PIL import Image

    place = tmp_path_factory.mktemp("reader")
    for split, count in (("train", 30), ("test", 4)):
        for number, label in enumerate(("dark", "light")):
            target = place / "path/to/images" / split / label
            target.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (16, 16), (number * 150 + index,) * 3).save(target / f"{index}.png")
    return place


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NAS_DATA_DIR": str(folder / "data")}
    environment.pop("NAS_STORAGE", None)
    words = [sys.executable, *(["-m"] if command[0] == "nas" else []), *command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_every_command_of_the_readme_runs(folder: Path) -> None:
    ran = 0
    for command in commands("README.md"):
        if command.startswith("pip install") or command == "pytest" or command == "nas dashboard":
            continue
        done = run(small(command), folder)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        ran += 1
    assert ran >= 17


def test_a_command_that_does_not_exist_would_be_noticed(folder: Path) -> None:
    assert run(["nas", "serach", "--budget", "2"], folder).returncode == 2
    assert run(["nas", "rank", "--best", "10"], folder).returncode == 2


def test_the_python_of_the_readme_runs(folder: Path) -> None:
    code = "\n".join(fences("README.md", "python")).replace("budget=20", "budget=2, epochs=1, space='tiny'")
    done = run(["nas", "--version"], folder)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_own_data_set_of_the_guide_trains(folder: Path) -> None:
    (folder / "stripes.py").write_text(fences("docs/data.md", "python")[0])
    done = run(["nas", "train", "resnet18", "--dataset", "stripes", "--import", "stripes", "--epochs", "1"], folder)
    assert done.returncode == 0, done.stderr


def test_ci_installs_and_tests_as_the_readme_says() -> None:
    line = "pip install -e '.[test]' && pytest"
    assert line in (ROOT / "README.md").read_text()
    assert line in (ROOT / ".ci/run").read_text().splitlines()


def test_every_page_that_is_linked_exists() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
    assert len(pages) > 8


def test_no_option_of_the_readme_is_missing_from_the_help() -> None:
    from click.testing import CliRunner

    from nas.cli import main

    for command in commands("README.md"):
        words = shlex.split(command)
        if words[0] != "nas":
            continue
        help_text = CliRunner().invoke(main, [words[1], "--help"]).output
        for option in (word for word in words if word.startswith("--")):
            assert option in help_text, f"{command}: {option}"
