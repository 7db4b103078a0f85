"""An SQLite file to test the store on; PostgreSQL's fixtures stand in tests/conftest.py."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("study_store_contract", "confirmation_contract")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/nas.db"
