"""What is loaded is what was trained; a bundle is whole or absent, whatever fails while it is written."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command import done, python
from crashes import Crash, crash_at, operations
from PIL import Image
from safetensors.torch import load_file
from searched import Searched

import nas
from nas.bundle import load, require_absent, write_bundle
from nas.errors import NasError
from nas.exporting import describe, write_network
from nas.training.data import Dataset, load_dataset
from nas.training.evaluate import Preprocess, accuracy, logits
from nas.training.recipe import Recipe
from nas.training.trial import train_to_the_end
from nas.weights import plain_state
from searchspace import Architecture, build, cost
from searchspace.space import Task
from searchspace.spaces import find_space

FACTS: dict[str, Any] = {
    "dataset": "digits",
    "dataset_fingerprint": "0" * 64,
    "classes": ("a", "b"),
    "mean": (0.5,),
    "std": (0.2,),
}
SMALL = {"stages": [{"block": {"kind": "conv", "width": 4}}], "channels": 1, "resolution": 8, "classes": 2}


def small_network() -> tuple[Architecture, dict[str, torch.Tensor], dict[str, Any]]:
    architecture = Architecture.from_json(json.dumps(SMALL))
    counted = cost(architecture)
    counts = {"params": counted.params, "macs": counted.macs, "activations": counted.activations}
    return architecture, plain_state(build(architecture)), FACTS | counts | {"input_size": 8}


def digits() -> Dataset:
    return load_dataset("digits", limit_train=300)


def test_the_stored_weights_are_those_that_the_search_measured(searched: Searched, exported: Path) -> None:
    card = json.loads((exported / "card.json").read_text())
    assert card["trial"] == searched.best
    assert card["search_val_accuracy"] == searched.document["best"]["val_accuracy"]
    assert card["val_accuracy"] == pytest.approx(
        card["search_val_accuracy"], abs=0.04
    )  # float32 now, perhaps bfloat16 then
    assert card["largest_logit_difference"] == 0
    (kept,) = Path(searched.folder).glob(f"nas-weights/*/{_evaluation(searched)}.safetensors")
    trained, loaded = load_file(kept), load(exported).network.state_dict()
    assert trained.keys() == loaded.keys()
    assert all(torch.equal(trained[name], loaded[name]) for name in trained)


def _evaluation(searched: Searched) -> str:
    return nas.open_study(searched.storage).trial(searched.best).evaluation.id


def test_a_fresh_interpreter_without_the_database_measures_the_cards_accuracy(exported: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(exported, tmp_path / "moved to another machine")
    code = """
import sys, nas, torch
network = nas.load(sys.argv[1])
assert not network.training
from nas.training.data import load_dataset
test = load_dataset("digits").read_test()
found = network.predict(test.images)
right = sum(prediction.label == str(int(label)) for prediction, label in zip(found, test.labels))
assert right / len(test) == network.card.test_accuracy, (right / len(test), network.card.test_accuracy)
assert len(test) == network.card.test_images
assert "optuna" not in sys.modules and "sqlalchemy" not in sys.modules
print("ok", network.classes, network.input_size, network.card.mean, network.card.std)
"""
    answer = python(code, moved, cwd=tmp_path)
    assert answer.out.startswith("ok ('0', '1', "), answer.err
    assert not (tmp_path / "nas.db").exists()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_trained_channels_last_in_either_precision_it_loads_bit_for_bit(bfloat16: bool, tmp_path: Path) -> None:
    data = digits()
    architecture = _sampled(data)
    state = plain_state(
        train_to_the_end(architecture, data, Recipe(epochs=1, batch_size=64, bfloat16=bfloat16), seed=0)[0]
    )
    written = write_network(tmp_path / "net", architecture, state, data, data.read_test())
    trained = build(architecture)
    trained.load_state_dict(state)
    images = data.validation.images
    expected = logits(trained, images, Preprocess(data, architecture.resolution, torch.device("cpu")))
    loaded = load(tmp_path / "net")
    with torch.inference_mode():
        assert torch.equal(loaded(loaded.preprocess(images)), expected)
    assert written.network.card.largest_logit_difference == 0


def _sampled(data: Dataset) -> Architecture:
    space = find_space("tiny")
    task = Task(channels=data.channels, resolution=data.resolution, classes=len(data.classes))
    return space.decode(space.random(random.Random(5)), task)


def test_predicting_files_gives_the_accuracy_that_was_measured_at_another_resolution(
    pictures: Path, tmp_path: Path
) -> None:
    """Pictures of 20 to 31 pixels, read at 16 as in training, for a network that compound scaling set to 24."""
    data = load_dataset(str(pictures))
    assert data.resolution == 16
    architecture = Architecture.from_json(json.dumps(SMALL)).changed(channels=3, resolution=24, classes=3)
    state = plain_state(
        train_to_the_end(architecture, data, Recipe(epochs=3, batch_size=16, learning_rate=0.1), seed=0)[0]
    )
    test = data.read_test()
    assert test is not None
    write_network(tmp_path / "net", architecture, state, data, test)
    network = load(tmp_path / "net")
    files = sorted((pictures / "test").glob("*/*.png"))
    found = network.predict(list(map(str, files)))
    assert isinstance(found, list)
    right = sum(prediction.label == file.parent.name for prediction, file in zip(found, files, strict=True))
    assert right / len(files) == network.card.test_accuracy
    trained = build(architecture)
    trained.load_state_dict(state)
    preprocess = Preprocess(data, 24, torch.device("cpu"))
    assert accuracy(trained, test, preprocess) == pytest.approx(right / len(files))
    with torch.inference_mode():
        scores = network(network.preprocess(list(map(str, files)))).cpu()
    assert torch.equal(scores, logits(trained, test.images, preprocess))  # file by file what the training saw
    card = network.card.model_copy(update={"input_size": 24})
    network.input_size = card.input_size  # the control: read at the network's own resolution, the pixels differ
    with torch.inference_mode():
        assert not torch.equal(network(network.preprocess(list(map(str, files)))), scores)


def test_the_card_has_the_hashes_of_both_files(exported: Path) -> None:
    card = json.loads((exported / "card.json").read_text())
    for file, key in (("architecture.json", "architecture_sha256"), ("model.safetensors", "weights_sha256")):
        assert card[key] == hashlib.sha256((exported / file).read_bytes()).hexdigest()
    assert sorted(path.name for path in exported.iterdir()) == [
        "README.md", "architecture.json", "architecture.svg", "card.json", "config.json", "model.safetensors",
    ]  # fmt: skip
    readme = (exported / "README.md").read_text()
    assert f"{card['test_accuracy']:.2%}" in readme
    assert "nas.load(" in readme


def test_loading_leaves_torchs_random_numbers_alone(exported: Path) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    load(exported)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_device_that_is_not_there_is_named(exported: Path) -> None:
    with pytest.raises(NasError, match="cuda:99"):
        load(exported, device="cuda:99")
    assert load(exported, device=torch.device("cpu")).resolution == 8


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(13, "Permission denied")])
def test_an_error_at_any_file_operation_leaves_nothing(error: OSError, tmp_path: Path) -> None:
    architecture, state, facts = small_network()
    total = operations(lambda: write_bundle(tmp_path / "counted", architecture, state, facts, describe=describe))
    shutil.rmtree(tmp_path / "counted")
    assert total > 12
    failed = 0
    for number in range(total):
        out = tmp_path / f"{number}"
        message = _message_of_writing(out, number, error)
        failed += message is not None
        assert message is None or str(error.strerror) in message
        if message is None or out.exists():  # or it failed while the folder's name was flushed
            load(out)
    assert failed >= total - 3  # the removal of what is left over may fail unnoticed
    assert [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def _message_of_writing(out: Path, number: int, error: OSError) -> str | None:
    architecture, state, facts = small_network()
    try:
        with crash_at(number, error):
            write_bundle(out, architecture, state, facts, describe=describe)
    except NasError as refused:
        return str(refused)
    return None


def test_a_death_at_any_file_operation_leaves_it_whole_or_absent(tmp_path: Path) -> None:
    architecture, state, facts = small_network()
    total = operations(lambda: write_bundle(tmp_path / "counted", architecture, state, facts, describe=describe))
    seen = set()
    for number in range(total):
        out = tmp_path / f"{number}"
        with pytest.raises(Crash), crash_at(number, Crash(), for_ever=True):
            write_bundle(out, architecture, state, facts, describe=describe)
        seen.add(out.exists())
        if out.exists():
            load(out)
            assert "# digits" in (out / "README.md").read_text()
    assert seen == {True, False}


def test_all_is_flushed_before_the_name_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power loss a renamed folder holds what was flushed before: six files and their names."""
    log: list[str] = []
    true_fsync, true_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        log.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        true_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        log.append("rename")
        true_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    architecture, state, facts = small_network()
    write_bundle(tmp_path / "net", architecture, state, facts)
    before = log[: log.index("rename")]
    files = {"architecture.json", "model.safetensors", "card.json", "config.json", "architecture.svg", "README.md"}
    assert files <= set(before)
    assert before[-1].endswith(".tmp")
    assert log[log.index("rename") + 1 :] == [tmp_path.name]


def test_what_exists_is_never_replaced(tmp_path: Path) -> None:
    architecture, state, facts = small_network()
    write_bundle(tmp_path / "net", architecture, state, facts)
    with pytest.raises(NasError, match="exists"):
        write_bundle(tmp_path / "net", architecture, state, facts)
    with pytest.raises(NasError, match="exists"):
        require_absent(tmp_path / "net")


def test_predict_of_an_export_by_the_command_line(exported: Path, tmp_path: Path) -> None:
    Image.new("RGBA", (30, 40), (9, 9, 9, 100)).save(tmp_path / "cat.png")
    line = done("predict", exported, tmp_path / "cat.png").out
    assert line.count("%") == 3
