"""`nas confirm` with real trainings, small as they are, and the export of what it chose."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command import done, refused

import nas


@pytest.mark.slow
def test_from_a_search_to_the_confirmed_network(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/nas.db"
    search = ("--dataset", "digits", "--space", "tiny", "--limit-train", "300", "--epochs", "1", "--pruner", "none")
    told = done("search", *search, "--budget", "3", "--storage", storage).err
    assert "how sure: " in told
    assert "nas confirm --study digits-tiny" in told
    assert "nas confirm names one" in refused("export", "--storage", storage, "--weights", "confirmed", "--out", "net")
    confirm = ("confirm", "--storage", storage, "--top", "2", "--seeds", "2", "--epochs", "1")
    first = done(*confirm, "--baselines", "resnet20,random")
    assert "winner: trial " in first.out
    assert "nas export --weights confirmed" in first.err
    assert not list(Path("cache/checkpoints").glob("*")), "all are recorded"
    again = done(*confirm, "--baselines", "resnet20,random", "--json")
    assert re.fullmatch(r"(\d+) trainings, \1 of which are recorded already\n", again.err)
    networks = again.document["networks"]
    winner = next(line for line in networks if line["trial"] == again.document["winner"])
    done("export", "--storage", storage, "--weights", "confirmed", "--out", "net")
    card = json.loads(Path("net/card.json").read_text())
    assert card["recipe"]["weights"] == "confirmed"
    assert card["recipe"]["confirmation"] == {"seeds": 2, "mean_val_accuracy": winner["val_accuracy"]}
    assert card["trial"] == again.document["winner"]
    assert "mean validation accuracy over 2 seeds, of which this is the best" in Path("net/README.md").read_text()
    assert nas.load("net").card.test_images == 359


def test_a_database_without_a_study_is_refused(tmp_path: Path) -> None:
    assert "nas.db" in refused("confirm", "--storage", f"sqlite:///{tmp_path}/nas.db")
