"""A database for each test, and the small spaces known by name while it runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("small_search")

from small_search import TWINS, WIDE  # noqa: E402

from searchspace.spaces import SPACES  # noqa: E402

MEMORY = Path("/dev/shm")


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("NAS_STORAGE", raising=False)
    for space in (WIDE, TWINS):
        monkeypatch.setitem(SPACES, space.name, space)


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a search flushes 40 times a trial, which takes a disk half a second."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=MEMORY, prefix="nas-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def storage(fast_folder: Path) -> str:
    return f"sqlite:///{fast_folder}/nas.db"
