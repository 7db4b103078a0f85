"""`nas search --dry-run` tells what a search would take, and leaves no trace of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import done, refused
from searched import SEARCH, Searched

import nas
from nas.foresight.forecasting import Effort

SMALL = ("--dataset", "digits", "--limit-train", "300", "--epochs", "2", "--space", "tiny")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.foresight.dry_run.THOROUGH", Effort(25, 2.0, 2, 60.0, 1, 64))


def test_a_table_and_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    answer = done("search", *SMALL, "--budget", "4", "--max-params", "60k", "--dry-run")
    assert list(folder.iterdir()) == []
    assert answer.err == ""
    lines = answer.out.splitlines()
    assert lines[0].startswith("space tiny: 155,520 networks, ")
    assert "fit max-params 60k" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == [
        "smallest", "params", "MACs", "activations", "memory", "trial", "budget",
    ]  # fmt: skip
    assert "4 trials about" in lines[-1]


def test_one_document(tmp_path: Path) -> None:
    found = done("search", *SMALL, "--budget", "4", "--dry-run", "--json").document
    assert found.keys() == nas.foresight.outlook.Forecast.__dataclass_fields__.keys()
    for name in ("params", "macs", "activations", "memory", "trial_seconds"):
        assert 0 < found[name]["smallest"] <= found[name]["median"] <= found[name]["largest"]
    assert (found["space"], found["share"], found["left"], found["exact"]) == ("tiny", 1.0, 4, False)
    assert found["seconds"] > 0
    assert not (tmp_path / "nas.db").exists()


def test_a_study_with_trials_tells_by_them(searched: Searched) -> None:
    place = ("--storage", searched.storage)
    before = (searched.folder / "nas.db").read_bytes()
    found = done("search", *SEARCH, "--budget", "9", "--dry-run", "--json", *place).document
    assert (found["measured_trials"], found["measured_networks"], found["left"]) == (3, 0, 6)
    assert (searched.folder / "nas.db").read_bytes() == before
    spent = done("search", *SEARCH, "--budget", "3", "--dry-run", *place)
    assert "no trial is left to train" in spent.out


def test_wrong_input_is_refused_as_a_search_refuses_it(tmp_path: Path) -> None:
    assert "the smallest found" in refused("search", *SMALL, "--max-params", "10", "--dry-run")
    assert "no sampler" in refused("search", *SMALL, "--sampler", "rnd", "--dry-run")
    assert "no study beside" in refused("search", *SMALL, "--start-from", "trial:3", "--dry-run")
    assert not (tmp_path / "nas.db").exists()


def test_python_has_it_too() -> None:
    found = nas.forecast("digits", space="tiny", budget=3, epochs=1, limit_train=200)
    assert found.budget == found.left == 3
    with pytest.raises(nas.NasError):
        nas.forecast("digits", budget=0)


def test_the_first_line_of_a_search_and_none_when_quiet() -> None:
    small = (*SMALL, "--budget", "1", "--epochs", "1")
    loud = done("search", *small, "--storage", "sqlite:///loud.db")
    assert loud.err.splitlines()[0].startswith("155,520 networks; ")
    assert done("search", *small, "--storage", "sqlite:///quiet.db", "--quiet", "--json").err == ""
