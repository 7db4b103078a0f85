"""optuna-dashboard shows a study of nas: metric, numeric attributes, a note with the export command; on loopback."""

from __future__ import annotations

import base64
import json
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from command import refused
from optuna.artifacts import download_artifact, get_all_artifact_meta, upload_artifact
from optuna.storages import RDBStorage
from searched import Searched

from nas.dashboard import annotate
from nas.pictures import TrialPictures
from nas.result import open_study
from nas.study import close_storage, optuna_storage
from searchspace import draw
from studies import StudyStore
from studies.connect import parse_url

pytest.importorskip("optuna_dashboard")

from optuna_dashboard import get_note, save_note
from optuna_dashboard.artifact._backend import delete_all_artifacts


@contextmanager
def opened(storage: str) -> Iterator[tuple[StudyStore, RDBStorage]]:
    """Both homes of the studies of a database."""
    with StudyStore(storage) as store:
        backend = optuna_storage(store)
        yield store, backend
        close_storage(backend)


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


def _trials(port: int) -> list[dict[str, Any]]:
    (study,) = read(port, "studies")["study_summaries"]
    return read(port, f"studies/{study['study_id']}")["trials"]


def _fetch(port: int, path: str, method: str = "GET", document: Any = None) -> tuple[str, bytes]:
    """Content type and body of an answer."""
    data = None if document is None else json.dumps(document).encode()
    headers = {} if document is None else {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers.get("Content-Type", ""), answer.read()


def test_every_trained_trial_has_its_picture(served: int, searched: Searched) -> None:
    result = open_study(searched.storage)
    for trial in _trials(served):
        (artifact,) = trial["artifacts"]
        assert artifact["filename"] == "architecture.svg"
        path = f"/artifacts/1/{trial['trial_id']}/{artifact['artifact_id']}"
        kind, picture = _fetch(served, path)
        assert kind == artifact["mimetype"] == "image/svg+xml"
        assert picture.decode() == draw(result.trial(trial["number"]).architecture)
        assert f"]({path})" in trial["note"]["body"]


def test_what_people_upload_is_kept_and_can_be_deleted(served: int) -> None:
    given = "data:text/plain;base64," + base64.b64encode(b"my notes").decode()
    _, body = _fetch(served, "/api/artifacts/1", "POST", {"file": given, "filename": "notes.txt"})
    name = json.loads(body)["artifact_id"]
    assert _fetch(served, f"/artifacts/1/{name}") == ("text/plain", b"my notes")
    _fetch(served, f"/api/artifacts/1/{name}", "DELETE")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _fetch(served, f"/artifacts/1/{'0' * 8}")


def test_optunas_own_functions_read_the_pictures(study_copy: Searched, tmp_path: Path) -> None:
    """With no folder of pictures: the database alone says what is drawn, on whatever machine."""
    with opened(study_copy.storage) as (store, backend):
        study = optuna.load_study(study_name="digits-tiny", storage=backend)
        for trial in study.get_trials():
            (meta,) = get_all_artifact_meta(trial, storage=backend)
            pictures = TrialPictures(store, tmp_path / "absent")
            file = tmp_path / f"{trial.number}.svg"
            download_artifact(artifact_store=pictures, artifact_id=meta.artifact_id, file_path=str(file))
            assert file.read_text().startswith("<svg ")
    assert not (tmp_path / "absent").exists()


def test_a_study_with_pictures_and_uploads_can_be_deleted(study_copy: Searched, tmp_path: Path) -> None:
    with opened(study_copy.storage) as (store, backend):
        study = optuna.load_study(study_name="digits-tiny", storage=backend)
        pictures = TrialPictures(store, tmp_path)
        (tmp_path / "mine.txt").write_text("mine")
        upload_artifact(artifact_store=pictures, file_path=str(tmp_path / "mine.txt"), study_or_trial=study)
        kept = study_copy.folder / "nas-artifacts"
        assert [file.read_text() for file in kept.iterdir()] == ["mine"]
        delete_all_artifacts(pictures, backend, study._study_id)
        assert list(kept.iterdir()) == []
        picture = get_all_artifact_meta(study.get_trials()[0], storage=backend)[0].artifact_id
        assert pictures.open_reader(picture).read().startswith(b"<svg ")


def test_a_network_of_blocks_that_are_not_known_says_so_in_its_picture(study_copy: Searched, tmp_path: Path) -> None:
    with sqlite3.connect(study_copy.folder / "nas.db") as database:
        database.execute('UPDATE nas_architecture SET json = replace(json, \'"kind":\', \'"kind":"shuffle","was":\')')
    with opened(study_copy.storage) as (store, backend):
        trial = optuna.load_study(study_name="digits-tiny", storage=backend).get_trials()[0]
        (meta,) = get_all_artifact_meta(trial, storage=backend)
        picture = TrialPictures(store, tmp_path).open_reader(meta.artifact_id).read().decode()
    assert "no picture" in picture
    assert "shuffle" in picture
    assert "--import" in picture


def test_a_trial_of_an_earlier_version_gets_a_note_without_a_picture(study_copy: Searched) -> None:
    with sqlite3.connect(study_copy.folder / "nas.db") as database:
        database.execute("DELETE FROM trial_system_attributes WHERE key LIKE 'artifacts:%'")
    with opened(study_copy.storage) as (store, backend):
        annotate(store, backend)
        study = optuna.load_study(study_name="digits-tiny", storage=backend)
        note = get_note(optuna.trial.Trial(study, study.get_trials()[0]._trial_id))
    assert "nas export" in note
    assert "![" not in note


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
    with opened(study_copy.storage) as (store, backend):
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
