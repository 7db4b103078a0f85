"""optuna-dashboard shows a study of nas: metric, numeric attributes, a note with the export command; on loopback."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import refused
from searched import Searched

from studies.connect import parse_url

pytest.importorskip("optuna_dashboard")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def served(searched: Searched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """`nas dashboard` on a copy of the study, in a path with blanks; its port."""
    folder = tmp_path_factory.mktemp("dash") / "it's a folder"
    shutil.copytree(searched.folder, folder)
    port = free_port()
    command = [sys.executable, "-m", "nas", "dashboard", "--port", str(port), "--storage", f"sqlite:///{folder}/nas.db"]
    log = folder / "log"
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr, stdout=stderr) as process:
        until = time.monotonic() + 60
        while not _answers("127.0.0.1", port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield port
        process.terminate()


def _answers(host: str, port: int) -> bool:
    with socket.socket() as caller:
        caller.settimeout(1)
        return caller.connect_ex((host, port)) == 0


def read(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=30) as answer:
        return json.load(answer)


def test_the_study_is_listed_with_its_metric(served: int, searched: Searched) -> None:
    (study,) = read(served, "studies")["study_summaries"]
    assert study["study_name"] == "digits-tiny"
    detail = read(served, f"studies/{study['study_id']}")
    assert detail["objective_names"] == ["val_accuracy"]
    assert detail["directions"] == ["maximize"]
    assert "nas export" in detail["note"]["body"]
    assert "--study digits-tiny" in detail["note"]["body"]


def test_trials_have_numeric_attributes_curves_and_a_note(served: int, searched: Searched) -> None:
    (study,) = read(served, "studies")["study_summaries"]
    detail = read(served, f"studies/{study['study_id']}")
    trained = [trial for trial in detail["trials"] if trial["state"] in ("Complete", "Pruned")]
    assert len(trained) == 3
    for trial in trained:
        attributes = {item["key"]: item["value"] for item in trial["user_attrs"]}
        for name in ("params", "macs", "val_accuracy"):
            assert float(attributes[name]) > 0
        assert trial["intermediate_values"]
        note = trial["note"]["body"]
        assert f"nas export --trial {trial['number']} " in note
        command = note.partition("Export: `")[2].partition("`")[0]
        words = shlex.split(command)
        database = parse_url(words[words.index("--storage") + 1]).database
        assert Path(str(database)).parent.name == "it's a folder"
        assert words[-2:] == ["--study", "digits-tiny"]
    numeric = {item["key"] for item in detail["union_user_attrs"] if item["sortable"]}
    assert {"params", "macs", "val_accuracy"} <= numeric
    best = next(trial for trial in trained if trial["number"] == searched.best)
    assert best["values"] == [pytest.approx(searched.document["best"]["val_accuracy"])]


def test_it_listens_on_loopback_alone(served: int) -> None:
    others = {
        info[4][0]
        for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if info[4][0] != "127.0.0.1"
    } | {"127.0.0.2"}
    for address in others:
        assert not _answers(str(address), served), address
    assert _answers("127.0.0.1", served)


def test_a_port_that_is_taken_is_one_line(served: int, searched: Searched, tmp_path: Path) -> None:
    storage = f"sqlite:///{shutil.copytree(searched.folder, tmp_path / 'copy')}/nas.db"
    assert f"127.0.0.1:{served}" in refused("dashboard", "--storage", storage, "--port", str(served))


def test_a_database_that_is_not_there_is_one_line() -> None:
    assert "no database" in refused("dashboard", "--storage", "sqlite:///absent.db")


def test_without_the_extra_it_says_what_to_install(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)  # what importing then raises is an ImportError
    assert "pip install optuna-dashboard" in refused("dashboard", "--storage", searched.storage)


def test_notes_of_a_person_are_kept_and_ours_are_written_once(study_copy: Searched) -> None:
    import optuna
    from optuna_dashboard import get_note, save_note

    from nas.dashboard import annotate
    from nas.study import optuna_storage
    from studies import StudyStore

    store = StudyStore(study_copy.storage)
    backend = optuna_storage(store)
    study = optuna.load_study(study_name="digits-tiny", storage=backend)
    save_note(study, "mine")
    mine = optuna.trial.Trial(study, study.get_trials()[0]._trial_id)
    save_note(mine, "mine too")
    optuna.create_study(study_name="somebody else's", storage=backend)
    annotate(store, backend)
    attributes = backend.get_study_system_attrs(study._study_id)
    annotate(store, backend)
    assert (get_note(study), get_note(mine)) == ("mine", "mine too")
    assert backend.get_study_system_attrs(study._study_id) == attributes
    assert get_note(optuna.load_study(study_name="somebody else's", storage=backend)) == ""
    backend.remove_session()
    backend.engine.dispose()
    store.close()
