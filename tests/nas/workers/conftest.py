"""Pools of workers that live as long as a module of tests: one takes seconds to start."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "search"))  # small_search
pytest.register_assert_rewrite("small_search", "pools")

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
def storage(tmp_path: Path) -> Iterator[str]:
    """In memory where there is some: a search flushes 40 times a trial."""
    if not os.access(MEMORY, os.W_OK):
        yield f"sqlite:///{tmp_path}/nas.db"
        return
    folder = Path(tempfile.mkdtemp(dir=MEMORY, prefix="nas-test-"))
    yield f"sqlite:///{folder}/nas.db"
    shutil.rmtree(folder)
