"""`nas scale` as a person types it: the table, the file, the family, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import done, refused
from searched import SEARCH, Searched

from searchspace import Architecture, cost


def test_a_trial_is_scaled_and_the_file_shows_and_trains(searched: Searched, tmp_path: Path) -> None:
    study = ("--storage", searched.storage)
    base = searched.document["best"]
    limit = base["macs"] * 2
    answer = done(
        "scale", f"trial:{searched.best}", *study, "--max-macs", limit, "--direction", "wide", "--out", "big.json"
    )
    assert "->  wide" in answer.out
    assert "chosen: wide (as asked); macs binds" in answer.out
    assert "nas train big.json" in answer.err
    made = Architecture.from_json((tmp_path / "big.json").read_bytes())
    assert 0.98 * limit <= cost(made).macs <= limit
    shown = done("show", "big.json", "--json").document
    assert shown["macs"] == cost(made).macs
    trained = done("train", "big.json", *SEARCH[2:], "--epochs", "1", "--json").document
    assert trained["macs"] == cost(made).macs
    same = done("scale", searched.best, *study, "--max-macs", limit, "--direction", "wide", "--json").document
    assert same["best"]["digest"] == made.digest
    assert same["resolution_range"][1] == 8  # the digits' own


def test_the_table_has_every_law_and_says_what_binds_and_why() -> None:
    answer = done("scale", "lenet5", "--max-macs", "2M", "--max-params", "1G")
    for law in (
        "width",
        "wide",
        "fast",
        "even",
        "uniform",
        "efficientnet",
        "depth",
        "resolution",
        "tinynet_",
        "regnet_x_",
    ):
        assert any(
            line.replace("->", "").split()[0].startswith(law) for line in answer.out.splitlines() if line.strip()
        )
    assert "macs binds" in answer.out
    assert "images stay within 32 pixels" in answer.out
    assert "resolution: 20.8% macs: nothing is left to grow" in answer.out
    document = done("scale", "lenet5", "--max-macs", "2M", "--max-params", "1G", "--json").document
    assert document["direction"] == "wide"
    assert [row["law"] for row in document["laws"]][:2] == ["width", "wide"]
    for row in document["laws"]:
        assert Architecture.from_json(json.dumps(row["architecture"])).digest == row["digest"]
        assert row["within"] == (row["share"] <= 1)
        assert 0.98 <= row["share"] <= 1 or row["reason"]


def test_limits_of_every_kind_are_taken() -> None:
    limits = ("--max-params", "1M", "--max-macs", "1G", "--max-activations", "1M", "--max-memory", "2G")
    more = ("--max-latency", "5s", "--device", "cpu", "--batch-size", "64", "--classes", "7", "--resolution", "24")
    answer = done("scale", "resnet20", *limits, *more, "--resolution-range", "16,24", "--direction", "width")
    assert "latency" in answer.out.splitlines()[1]
    assert "params binds" in answer.out


def test_a_family_is_printed_with_its_errors_and_written(tmp_path: Path) -> None:
    answer = done("scale", "resnet20", "--phi", "-1,1", "--direction", "efficientnet", "--out", "net.json")
    assert "along efficientnet" in answer.out
    files = sorted(file.name for file in tmp_path.glob("*.json"))
    assert files == ["net-phi-1.json", "net-phi1.json"]
    document = done("scale", "resnet20", "--phi", "-1,1", "--direction", "efficientnet", "--json").document
    for member, file in zip(document["members"], files, strict=True):
        assert Architecture.from_json((tmp_path / file).read_bytes()).digest == member["digest"]
        assert -0.02 <= member["macs_error"] <= 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-macs", "200M", "--direction", "widht"), "did you mean 'width'"),
        ((), "--max-macs 200M"),
        (("--max-macs", "10"), "the smallest along wide has"),
        (("--max-macs", "200M", "--phi", "1"), "leave out --max-macs"),
        (("--phi", "one"), "--phi takes numbers"),
        (("--phi", "2", "--direction", "resolution"), "the nearest has 40.6M"),
        (("--phi", "2", "--direction", "all"), "one direction"),
        (("--max-macs", "200M", "--resolution-range", "16"), "two numbers"),
        (("--max-macs", "200M", "--resolution-range", "32,16"), "given 32 to 16"),
        (("--max-macs", "200M", "--out", "net.txt"), "must end in .json"),
        (("--max-macs", "200M", "--out", "no/net.json"), "no folder"),
        (("--max-macs", "200M", "--out", "there.json"), "exists"),
        (("--max-latency", "soon"), "is not a latency"),
        (("--max-memory", "0"), "is not a count"),
    ],
)
def test_wrong_input_is_refused_in_a_line(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("kept")
    assert words in refused("scale", "resnet20", *arguments)
    assert (tmp_path / "there.json").read_text() == "kept"


def test_an_unknown_network_is_refused() -> None:
    assert "did you mean 'resnet20'" in refused("scale", "resnet2O", "--max-macs", "1M")


@pytest.mark.slow
def test_a_trial_is_fitted_once_and_later_sizes_follow_it(searched: Searched, tmp_path: Path) -> None:
    what = ("scale", f"trial:{searched.best}", "--storage", searched.storage)
    before = done(*what, "--phi", "1", "--json").document
    assert before["direction"] == "wide"
    answer = done(*what, "--fit", "--epochs", "1", "--seeds", "1", "--phi", "1,2", "--train", "--out", "net.json")
    assert "trainings of 1 epochs" in answer.err
    assert "->" in answer.out
    assert "standard errors apart" in answer.out
    assert "ranked by validation accuracy: phi" in answer.out
    assert sorted(file.name for file in tmp_path.glob("*.json")) == ["net-phi1.json", "net-phi2.json"]
    again = done(*what, "--fit", "--epochs", "1", "--seeds", "1", "--phi", "1,2", "--train", "--json")
    assert again.err.count("nothing is trained") >= 2
    assert "seed 1" not in again.err
    document = again.document
    assert all(0 <= member["val_accuracy"] <= 1 for member in document["members"])
    assert sum(document["fit"]["exponents"]) == pytest.approx(1)
    limit = 5 * searched.document["best"]["macs"]
    later = done(*what, "--max-macs", limit, "--json").document
    assert later["direction"] == document["fit"]["direction"]
    assert document["fit"]["why"] in later["why"]
    assert done(*what, "--phi", "1", "--json").document["members"][0]["digest"] == document["members"][0]["digest"]
    named = done(*what, "--phi", "1", "--direction", "depth", "--json").document
    assert named["direction"] == "depth"  # a direction that is named goes before what was learnt


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--fit",), "give --dataset"),
        (("--train", "--phi", "1"), "give --dataset"),
        (("--fit", "--seeds", "0"), "given 0"),
        (("--fit", "--direction", "width"), "leave out --direction"),
        (("--fit", "--classes", "3"), "leave out --classes"),
        (("--fit", "--out", "net.json"), "add --phi"),
        (("--fit", "--phi", "1", "--max-macs", "9M"), "leave out --max-macs"),
        (("--train", "--max-macs", "200M"), "add --phi"),
        (("--train", "--phi", "1", "--epochs", "3"), "leave out --epochs"),
        (("--phi", "1", "--dataset", "digits", "--seed", "1"), "leave out --dataset and --seed"),
        (("--phi", "1", "--direction", "fitted"), "no database"),
    ],
)
def test_trainings_that_make_no_sense_are_refused_before_any(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused("scale", "resnet20", *arguments)


def test_other_sizes_of_a_reference_follow_its_fit_without_training() -> None:
    fit = ("scale", "resnet20", "--dataset", "digits", "--limit-train", "100", "--fit", "--epochs", "1", "--seeds", "1")
    first = done(*fit, "--json")
    assert "width: " in first.err
    again = done(*fit, "--phi", "1", "--json")
    assert "width: " not in again.err
    assert again.document["direction"] == first.document["fit"]["direction"]
    assert "3 channels and 32 pixels" in refused("scale", "resnet20", "--direction", "fitted", "--phi", "1")


def test_a_trial_has_the_images_of_its_study(searched: Searched) -> None:
    what = ("scale", f"trial:{searched.best}", "--storage", searched.storage, "--fit")
    assert "leave out --limit-train" in refused(*what, "--limit-train", "100")
