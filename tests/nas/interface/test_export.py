"""`nas export` says what it will take, refuses before it trains, tests once and leaves a record."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from command import done, refused
from pictures import make_folder
from searched import Searched

import nas
from nas.training.data import Dataset
from studies import StoreUnavailable, StudyStore


def test_the_time_is_told_before_the_training(searched: Searched) -> None:
    lines = done("export", "--storage", searched.storage, "--epochs", "2", "--out", "net").err.splitlines()
    assert lines[0].startswith(f"training trial {searched.best} for 2 epochs takes about ")
    assert "--weights stored" in lines[0]
    assert lines[1].startswith("epoch 1/2: ")


def test_the_full_recipe_has_four_times_the_epochs_of_the_search(searched: Searched) -> None:
    answer = done("export", "--storage", searched.storage, "--out", "net", "--json")
    assert answer.err.count("\nepoch ") == 8
    assert answer.document["recipe"]["training"]["epochs"] == 8
    assert answer.document["trial"] == searched.best
    assert answer.document["test_images"] == 359


def test_any_trial_may_be_exported_a_pruned_one_too(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/pruned.db"
    result = nas.search("digits", budget=2, epochs=3, limit_train=200, storage=storage, pruner="none")
    trial = result.trial(1)
    result.store.engine.dispose()
    import sqlite3

    with sqlite3.connect(tmp_path / "pruned.db") as database:
        changed = database.execute(
            "UPDATE nas_evaluation SET status = 'PRUNED' WHERE id = ?", (trial.evaluation.id,)
        ).rowcount
    database.close()
    assert changed == 1
    answer = done("export", "--storage", storage, "--trial", "1", "--epochs", "1", "--out", "net", "--json")
    assert answer.document["trial"] == 1


def test_the_record_names_the_place_and_the_hashes(study_copy: Searched) -> None:
    card = done("export", "--storage", study_copy.storage, "--weights", "stored", "--out", "net", "--json").document
    store = StudyStore(study_copy.storage)
    row, *_ = store.exports(store.study("digits-tiny").id).to_dict("records")
    store.close()
    assert row["path"] == str(Path("net").resolve())
    assert row["trial"] == study_copy.best
    assert row["weights_sha256"] == card["weights_sha256"]
    assert row["test_accuracy"] == card["test_accuracy"]


def test_an_export_that_the_database_cannot_record_is_whole(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*arguments: object, **settings: object) -> None:
        raise StoreUnavailable("the database went away")

    monkeypatch.setattr(StudyStore, "record_export", lost)
    answer = done("export", "--storage", searched.storage, "--weights", "stored", "--out", "net")
    assert "the database does not know it: the database went away" in answer.err
    nas.load("net")


def test_the_test_split_is_read_once_and_before_the_training(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    true_read = Dataset.read_test

    def read(data: Dataset):
        events.append("test split")
        return true_read(data)

    monkeypatch.setattr(Dataset, "read_test", read)
    result = nas.open_study(searched.storage)
    nas.export_trial(result, "net", epochs=1, progress=lambda score, epochs: events.append("epoch"))
    assert events == ["test split", "epoch"]


def test_an_export_that_another_one_was_quicker_than_is_written_beside_it(searched: Searched) -> None:
    result, said = nas.open_study(searched.storage), list[str]()

    def meanwhile(score: object, epochs: int) -> None:
        Path("net").mkdir(exist_ok=True)

    written = nas.export_trial(result, "net", epochs=1, progress=meanwhile, say=said.append)
    assert (written.folder, [*Path("net").iterdir()]) == (Path("net-2"), [])
    assert "'net-2'" in said[-1]
    nas.load("net-2")


def test_class_names_that_a_search_takes_are_exported(tmp_path: Path) -> None:
    names = {"red": "zero\u00a0one", "green": "family \U0001f468\u200d\U0001f469"}
    images = str(make_folder(tmp_path / "images", names=names))
    done("train", "lenet5", "--dataset", images, "--resolution", "32", "--epochs", "1", "--out", "net")
    assert set(names.values()) <= set(nas.load("net").classes)


def test_a_damaged_test_image_is_found_before_the_training(tmp_path: Path) -> None:
    pictures = make_folder(tmp_path / "pictures", train=8, test=2)
    small = ("--epochs", "1", "--space", "tiny", "--batch-size", "8")
    place = ("--storage", f"sqlite:///{tmp_path}/own.db")
    done("search", "--dataset", pictures, "--budget", "1", *small, *place)
    victim = pictures / "test" / "red" / "001.png"
    victim.write_bytes(victim.read_bytes()[:100])
    assert "001.png" in refused("export", "--epochs", "100000", *place)
    assert "001.png" in refused("train", "vgg11_bn", "--dataset", pictures, "--epochs", "100000")
    assert not Path("exports/best").exists()


def test_images_that_moved_are_found_and_images_that_changed_are_refused(tmp_path: Path) -> None:
    pictures = make_folder(tmp_path / "pictures", train=8, test=2)
    place = ("--storage", f"sqlite:///{tmp_path}/own.db")
    done(
        "search",
        "--dataset",
        pictures,
        "--budget",
        "1",
        "--epochs",
        "1",
        "--space",
        "tiny",
        "--batch-size",
        "8",
        *place,
    )
    moved = pictures.rename(tmp_path / "moved")
    message = refused("export", "--epochs", "1", *place)
    assert "--dataset" in message
    assert str(pictures) in message
    done("export", "--epochs", "1", "--dataset", moved, "--out", "first", *place)
    shutil.copy(moved / "train" / "red" / "001.png", moved / "train" / "red" / "000.png")
    assert "changed" in refused("export", "--epochs", "1", "--dataset", moved, "--out", "second", *place)
    assert "changed" in refused("export", "--epochs", "1", "--dataset", "digits", "--out", "second", *place)


def test_stored_weights_that_are_gone_or_damaged_say_what_to_do(study_copy: Searched) -> None:
    export = ("export", "--storage", study_copy.storage, "--weights", "stored", "--out", "net")
    (kept,) = study_copy.folder.glob(
        f"nas-weights/*/{nas.open_study(study_copy.storage).best.evaluation.id}.safetensors"
    )
    data = kept.read_bytes()
    for damaged in (data[:1000], b"", b"\x80\x04K\x01."):
        kept.write_bytes(damaged)
        message = refused(*export)
        assert "damaged" in message
        assert "--weights full" in message
    other = next(path for path in kept.parent.iterdir() if path != kept)
    kept.write_bytes(other.read_bytes())
    refused(*export)
    kept.unlink()
    assert "no weights of trial" in refused(*export)
    assert not Path("net").exists()


def test_in_python_wrong_settings_are_refused_too(searched: Searched) -> None:
    result = nas.open_study(searched.storage)
    for settings, said in (
        ({"weights": "mine"}, "full"),
        ({"weights": "stored", "epochs": 2}, "--epochs"),
        ({"epochs": 0}, "epochs"),
        ({"device": "gpu"}, "device"),
    ):
        with pytest.raises(nas.NasError, match=said):
            nas.export_trial(result, "net", **settings)  # pyright: ignore[reportArgumentType]


def test_an_export_is_plain_data(exported: Path) -> None:
    network = nas.load(exported)
    written = nas.Export(exported, network, 0.5, None)
    assert dataclasses.asdict(dataclasses.replace(written, network=None))["val_accuracy"] == 0.5  # pyright: ignore[reportArgumentType]
