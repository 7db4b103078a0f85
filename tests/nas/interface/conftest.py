"""One searched study and one export that many tests read; what changes them works on a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.register_assert_rewrite("command")

from command import done  # noqa: E402
from pictures import make_folder  # noqa: E402
from searched import SEARCH, Searched  # noqa: E402


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests start in an empty folder, and no database or data folder of the person who runs them is touched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("NAS_STORAGE", raising=False)


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("a study's home")
    storage = f"sqlite:///{folder}/nas.db"
    answer = done("search", *SEARCH, "--budget", "3", "--storage", storage, "--json")
    return Searched(folder, storage, answer.document)


@pytest.fixture
def study_copy(searched: Searched, tmp_path: Path) -> Searched:
    """The study in a folder of the test's own, its weights included."""
    folder = tmp_path / "study"
    shutil.copytree(searched.folder, folder)
    return Searched(folder, f"sqlite:///{folder}/nas.db", searched.document)


@pytest.fixture(scope="session")
def exported(searched: Searched, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best trial's stored weights as a bundle: read only, tests change copies."""
    out = tmp_path_factory.mktemp("exports") / "best"
    done("export", "--storage", searched.storage, "--weights", "stored", "--out", out)
    return out


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    """A bundle of the test's own, to damage."""
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images in three classes, of mixed sizes, with a test split."""
    return make_folder(tmp_path_factory.mktemp("data") / "my pictures")
