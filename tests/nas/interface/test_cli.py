"""Every verb and option of the README's first page works as typed, with digits and generated images for CIFAR-10."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command import done, in_process, typed
from pictures import make_npz
from searched import SEARCH, Searched

import nas
import searchspace


def test_a_search_prints_one_json_document_and_logs_elsewhere(searched: Searched) -> None:
    document = searched.document
    assert document["study"] == "digits-tiny"
    assert document["slots"]["DONE"] == 3
    assert 0 < document["best"]["val_accuracy"] <= 1
    assert document["ended"] == "the budget of 3 trials is spent"
    best = searchspace.Architecture.from_json(json.dumps(document["best"]["architecture"]))
    assert best.digest == document["best"]["digest"]
    assert searchspace.cost(best).params == document["best"]["params"]


def test_the_same_search_resumes_and_tells_a_person_how_to_go_on(study_copy: Searched) -> None:
    answer = done("search", *SEARCH, "--budget", "4", "--storage", study_copy.storage)
    assert answer.out.startswith("best: trial ")
    assert "nas export --study digits-tiny" in answer.err
    assert "trial 0" not in answer.err  # the three trials of the first run are not trained again
    assert len(done("rank", "--storage", study_copy.storage, "--json").document["trials"]) == 4


def test_every_option_of_search_is_taken(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/all.db"
    limits = ("--max-params", "1M", "--max-macs", "2.5G", "--limit-train", "200", "--batch-size", "50")
    choices = ("--space", "tiny", "--sampler", "random", "--pruner", "none", "--study", "my study", "--seed", "7")
    place = ("--device", "cpu", "--data-dir", str(tmp_path / "data"), "--storage", storage, "--resolution", "8")
    answer = done(
        "search", "--dataset", "digits", "--budget", "1", "--time", "5m", "--epochs", "1", *limits, *choices, *place,
        "--quiet", "--json",
    )  # fmt: skip
    assert answer.err == ""
    assert answer.document["study"] == "my study"
    assert answer.document["best"]["params"] <= 10**6
    assert answer.document["best"]["epochs"] == 1


def test_storage_and_data_folder_come_from_the_environment(exported: Path, tmp_path: Path) -> None:
    env = {"NAS_STORAGE": f"sqlite:///{tmp_path}/named by env.db", "NAS_DATA_DIR": str(tmp_path / "data of env")}
    done("search", "--dataset", "digits", "--budget", "1", "--epochs", "1", "--limit-train", "100", env=env)
    assert (tmp_path / "named by env.db").exists()
    assert not (tmp_path / "nas.db").exists()
    assert "digits-tiny" in done("studies", env=env).out
    from nas.training.data import DATASETS, load_dataset

    seen = []

    def spy(request):
        seen.append(request.data_dir)
        return DATASETS["digits"](request)

    DATASETS["spy"] = spy
    try:
        done("train", exported, "--dataset", "spy", "--epochs", "1", "--limit-train", "40", env=env)
        done("train", exported, "--dataset", "spy", "--epochs", "1", "--limit-train", "40", "--data-dir", "other")
    finally:
        del DATASETS["spy"]
    assert load_dataset("digits")  # the table is whole again
    assert [str(folder) for folder in seen] == [str(tmp_path / "data of env"), "other"]


def test_the_default_database_is_nas_db_in_the_working_directory(tmp_path: Path) -> None:
    done("search", "--dataset", "digits", "--budget", "1", "--epochs", "1", "--limit-train", "100")
    assert (tmp_path / "nas.db").exists()
    assert done("rank").out.count("COMPLETE") == 1


def test_rank_shows_the_top_the_front_and_writes_a_csv(searched: Searched, tmp_path: Path) -> None:
    place = ("--storage", searched.storage)
    top = done("rank", "--top", "2", *place, "--json").document
    accuracies = [trial["val_accuracy"] for trial in top["trials"]]
    assert len(accuracies) == 2
    assert accuracies == sorted(accuracies, reverse=True)
    assert top["trials"][0]["trial"] == searched.best
    for cost in ("params", "macs", "activations"):
        front = done("rank", "--pareto", cost, *place, "--json").document["trials"]
        assert searched.best in [trial["trial"] for trial in front]
        assert len({trial[cost] for trial in front}) == len(front)
    answer = done("rank", "--csv", "trials.csv", *place)
    assert "3 trials" in answer.err
    with open("trials.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["trial"]) for row in rows} == {0, 1, 2}
    assert {"val_accuracy", "params", "macs", "digest"} <= rows[0].keys()


def test_rank_as_a_table_names_accuracy_and_cost(searched: Searched) -> None:
    table = done("rank", "--storage", searched.storage).out.splitlines()
    assert table[0].split()[:5] == ["trial", "status", "val_accuracy", "params", "macs"]
    assert len(table) == 4


def test_studies_lists_what_there_is(searched: Searched) -> None:
    (study,) = done("studies", "--storage", searched.storage, "--json").document["studies"]
    assert (study["name"], study["complete"] + study["pruned"]) == ("digits-tiny", 3)


@pytest.mark.parametrize("named", ["{}", "trial:{}"])
def test_show_a_trial_by_its_number(searched: Searched, named: str) -> None:
    place = ("--storage", searched.storage, "--study", "digits-tiny")
    shown = done("show", named.format(searched.best), *place, "--json").document
    assert shown["trial"] == searched.best
    assert shown["digest"] == searched.document["best"]["digest"]
    assert sum(stage["params"] for stage in shown["stages"]) == shown["params"]
    assert sum(stage["macs"] for stage in shown["stages"]) == shown["macs"]
    text = done("show", named.format(searched.best), *place).out
    assert "validation accuracy" in text
    assert len(text.splitlines()) == 4 + len(shown["stages"])


def test_show_and_cost_take_files_and_exports(exported: Path, searched: Searched) -> None:
    digest = searched.document["best"]["digest"]
    for what in (exported, exported / "architecture.json"):
        assert done("show", what, "--json").document["digest"] == digest
        assert done("cost", what, "--json").document["digest"] == digest
    by_number = done("cost", str(searched.best), "--storage", searched.storage, "--json").document
    assert by_number["params"] == searched.document["best"]["params"]


def test_cost_of_a_reference_at_other_sizes() -> None:
    assert done("cost", "resnet18", "--json").document["params"] == 11_689_512
    small = done("cost", "resnet18", "--resolution", "32", "--classes", "10", "--json").document
    assert small["params"] == 11_689_512 - 990 * 513
    published = searchspace.reference("resnet18", num_classes=10)
    assert small["macs"] == searchspace.cost(searchspace.cifar_form(published, 32)).macs
    assert (small["name"], small["form"]) == ("resnet18 (CIFAR form)", "cifar")
    text = done("cost", "mobilenet_v2", "--resolution", "32", "--latency", "--device", "cpu").out
    assert "params 3,504,872" in text
    assert "latency" in text


def test_train_reports_what_it_measured(searched: Searched) -> None:
    arguments = ("--dataset", "digits", "--epochs", "2", "--limit-train", "300", "--batch-size", "64")
    answer = done("train", f"trial:{searched.best}", *arguments, "--storage", searched.storage, "--json")
    found = answer.document
    assert found.keys() >= {
        "train_images_per_second", "val_accuracy", "test_accuracy", "params", "macs", "epochs", "seconds",
    }  # fmt: skip
    assert found["epochs"] == 2
    assert found["params"] == searched.document["best"]["params"]
    assert found["macs"] == searched.document["best"]["macs"]
    assert found["train_images_per_second"] > 0
    assert 0 < found["seconds"] < 60
    assert 0 <= found["test_accuracy"] <= 1
    assert answer.err.count("epoch ") == 2


def test_train_takes_a_reference_a_file_and_an_export_and_writes_a_bundle(exported: Path, tmp_path: Path) -> None:
    small = ("--dataset", "digits", "--epochs", "1", "--limit-train", "100", "--json")
    trained = done("train", "mobilenet_v2", *small, "--resolution", "32")
    assert (trained.document["architecture"], trained.document["form"]) == ("mobilenet_v2 (CIFAR form)", "cifar")
    assert "mobilenet_v2 (CIFAR form): images of 32 pixels keep their size in the stem" in trained.err
    first = done("train", exported, *small).document
    second = done("train", exported / "architecture.json", *small, "--out", tmp_path / "out" / "net").document
    assert first["val_accuracy"] == pytest.approx(second["val_accuracy"])  # the same seed trains the same network
    network = nas.load(tmp_path / "out" / "net")
    assert network.card.test_accuracy == second["test_accuracy"]
    assert network.card.test_images == 359


def test_search_rank_export_and_predict_on_a_folder_of_images(pictures: Path, tmp_path: Path) -> None:
    place = ("--storage", f"sqlite:///{tmp_path}/own.db")
    small = ("--budget", "1", "--epochs", "3", "--space", "tiny", "--max-params", "1M", "--batch-size", "16")
    found = done("search", "--dataset", pictures, *small, *place, "--json").document
    assert found["study"] == "my pictures-tiny"
    answer = done("export", *place, "--epochs", "3", "--out", "exports/best")
    assert "takes about" in answer.err.splitlines()[0]
    assert "test accuracy" in answer.out
    files = sorted((pictures / "test").glob("*/*.png"))
    lines = done("predict", "exports/best", *files).out.splitlines()
    assert len(lines) == 24
    assert all("blue" in line and "%" in line for line in lines)
    document = done("predict", "exports/best", *files, "--json").document["predictions"]
    right = sum(entry["label"] == Path(entry["image"]).parent.name for entry in document)
    card = json.loads(Path("exports/best/card.json").read_text())
    assert right / 24 == card["test_accuracy"]
    assert card["classes"] == ["blue", "green", "red"]


def test_search_takes_arrays(tmp_path: Path) -> None:
    arrays = make_npz(tmp_path / "arrays.npz")
    small = ("--budget", "1", "--epochs", "1", "--batch-size", "16", "--json")
    assert done("search", "--dataset", arrays, *small).document["study"] == "arrays-tiny"


def test_help_names_every_verb_and_answers_for_each() -> None:
    verbs = ("search", "rank", "studies", "show", "cost", "train", "export", "predict", "dashboard")
    overview = done("--help").out
    for verb in verbs:
        assert f"\n  {verb} " in overview
        assert done(verb, "--help").out.startswith("Usage: nas " + verb)
    assert typed("--version").out.strip().endswith(nas.__version__)


def test_a_true_process_prints_json_alone_on_standard_output(searched: Searched, tmp_path: Path) -> None:
    answer = in_process("rank", "--json", cwd=tmp_path, env={"NAS_STORAGE": searched.storage})
    assert answer.code == 0
    assert answer.document["study"] == "digits-tiny"
    assert answer.err == ""
