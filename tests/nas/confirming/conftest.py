"""Tests start in an empty folder, and no database or data folder of the person who runs them is touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for folder in ("search", "interface"):
    sys.path.append(str(Path(__file__).parent.parent / folder))
pytest.register_assert_rewrite("small_search", "command")


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("NAS_STORAGE", raising=False)
