"""`nas train --recipe final`: the long training of a winner, which the same command resumes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import done, refused, typed
from crashes import Crash, crash_at, operations
from pictures import make_folder
from searched import Searched
from torch import Tensor, nn

import nas
from nas import bundle as bundles
from nas.errors import NasError, RunError
from nas.training import checkpoint as checkpoint_module
from nas.training.checkpoint import Checkpoint
from nas.training.data import Split
from nas.training.mirrored import mirrored_accuracy
from nas.training.optimizer import Optimizer
from nas.training.precision import Precision
from nas.training.recipe import Recipe, final_recipe
from nas.training.score import EpochScore
from searchspace import reference

FINAL = ("train", "lenet5", "--dataset", "digits", "--resolution", "16", "--limit-train", "150", "--recipe", "final")
SETTINGS: dict[str, Any] = {"resolution": 16, "limit_train": 150, "recipe": "final", "epochs": 4, "batch_size": 32}


def checkpoints() -> list[Path]:
    return list(Path("cache/checkpoints").glob("*"))


def weights(folder: str) -> bytes:
    return (Path(folder) / "model.safetensors").read_bytes()


def stopped_after(steps: int) -> Callable[[], bool]:
    left = iter(range(steps))
    return lambda: next(left, None) is None


# The recipe


def test_the_final_recipe_is_long_and_has_cutout_and_what_was_given_wins() -> None:
    given = Recipe(optimizer="adam", batch_size=64)
    final = final_recipe(given)
    assert final == given.model_copy(update={"epochs": 100, "cutout": 0.25})
    assert final_recipe(given, epochs=7).epochs == 7
    with pytest.raises(NasError, match="epochs"):
        final_recipe(given, epochs=200_000)
    assert Recipe().epochs == 10, "a trial's"


def test_the_card_says_the_recipe(searched: Searched) -> None:
    small = ("--dataset", "digits", "--limit-train", "100", "--storage", searched.storage)
    done("train", f"trial:{searched.best}", *small, "--recipe", "final", "--epochs", "2", "--out", "net")
    training = nas.load("net").card.recipe["training"]
    assert (training["epochs"], training["cutout"]) == (2, 0.25)
    assert not checkpoints(), "the result is written"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--compile",), "--compile takes longer than a short training gains by it: add --recipe final"),
        (("--recipe", "long"), "'long' is not one of 'trial', 'final'"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused("train", "lenet5", "--dataset", "digits", *arguments)


@pytest.mark.parametrize("command", [("search",), ("train", "lenet5")])
def test_torchrun_is_for_final_trainings_alone(command: tuple[str, ...]) -> None:
    told = refused(*command, "--dataset", "digits", env={"WORLD_SIZE": "4", "RANK": "0"})
    assert "is one process, and torchrun started 4:" in told
    assert ("--workers" if command == ("search",) else "--recipe final") in told


# Resumed


def test_the_same_call_resumes_and_writes_what_an_unbroken_one_does() -> None:
    nas.train("lenet5", "digits", **SETTINGS, out="whole")
    said: list[str] = []
    with pytest.raises(RunError, match="the training was interrupted; the same command resumes at epoch 3 of 4"):
        nas.train("lenet5", "digits", **SETTINGS, out="net", stop=stopped_after(9))
    assert len(checkpoints()) == 1
    seen: list[int] = []
    told = {"say": said.append, "progress": lambda score, epochs: seen.append(score.epoch)}
    found = nas.train("lenet5", "digits", **SETTINGS, **told, out="net")
    assert "resuming at epoch 3 of 4" in said
    assert seen == [2, 3, 4], "the last epoch that was done is shown first"
    assert found.epochs == 4
    assert weights("net") == weights("whole")
    assert not checkpoints()


def test_another_training_does_not_go_on_from_it() -> None:
    with pytest.raises(RunError):
        nas.train("lenet5", "digits", **SETTINGS, stop=stopped_after(9))
    said: list[str] = []
    for changes in ({"seed": 1}, {"epochs": 3}, {"limit_train": 140}, {"optimizer": "adam"}):
        nas.train("lenet5", "digits", **SETTINGS | changes, say=said.append)
    nas.train(reference("lenet5").changed(resolution=20), "digits", **SETTINGS, say=said.append)
    assert not [text for text in said if "resuming" in text]
    assert len(checkpoints()) == 1


def test_given_weights_are_resumed_by_the_same_weights_alone() -> None:
    nas.train("lenet5", "digits", **SETTINGS | {"recipe": "trial", "epochs": 1}, out="first")
    nas.train("lenet5", "digits", **SETTINGS | {"recipe": "trial", "epochs": 2}, out="second")
    start = {"weights": "first/model.safetensors", "out": "tuned"}
    nas.train("first", "digits", **SETTINGS, **start | {"out": "whole"})
    with pytest.raises(RunError, match="resumes at epoch 3"):
        nas.train("first", "digits", **SETTINGS, **start, stop=stopped_after(9))
    said: list[str] = []
    nas.train("first", "digits", **SETTINGS, weights="second/model.safetensors", say=said.append)
    assert not [text for text in said if "resuming" in text]
    nas.train("first", "digits", **SETTINGS, **start, say=said.append)
    assert "resuming at epoch 3 of 4" in said
    assert weights("tuned") == weights("whole")


def test_a_result_that_could_not_be_written_is_written_by_the_same_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    arguments = (*FINAL, "--epochs", "2", "--out", "net")
    with monkeypatch.context() as patched:
        patched.setattr(bundles, "write_flushed", full)
        told = refused(*arguments, code=1)
    assert "cannot write the export to 'net': No space left on device; the training is kept: the same command" in told
    assert not Path("net").exists()
    answer = done(*arguments)
    assert "all 2 epochs are done" in answer.err
    assert nas.load("net").card.val_accuracy is not None
    assert not checkpoints()


def writer(file: Path, said: list[str]) -> Callable[[int], None]:
    """Writes the checkpoint of a small network after the epoch of this number."""
    network = nn.Linear(3, 2)
    optimizer = Optimizer(network, Recipe(optimizer="sgd"), 2, 10)
    checkpoint = Checkpoint(file, {}, said.append)

    def write(epoch: int) -> None:
        nn.init.constant_(network.weight, epoch)
        score = EpochScore(epoch, 1.0, 0.5, 1.0, 1.0, 2, network)
        checkpoint.keep(score, optimizer, Precision(bfloat16=False))
        checkpoint.flush()

    return write


@pytest.mark.parametrize("error", [Crash(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
def test_wherever_a_writing_ends_the_old_checkpoint_or_the_new_one_is_whole(
    tmp_path: Path, error: BaseException
) -> None:
    """Every file operation of a writing fails once, and all that follow: the process is gone, or the disk is full."""
    first = writer(tmp_path / "counted", [])
    first(1)
    count = operations(lambda: first(2))
    assert count >= 4, "open, write, flush, rename"
    found = []
    for number in range(count):
        file, said = tmp_path / f"{number}", []
        write = writer(file, said)
        write(1)
        with contextlib.suppress(Crash), crash_at(number, error, for_ever=True):
            write(2)
        point = Checkpoint(file, {}, said.append).point
        assert point is not None
        assert (point.network["weight"] == point.epoch).all()
        assert not [text for text in said if "damaged" in text]
        found.append(point.epoch)
    assert found == sorted(found)
    assert found[0] == 1
    assert not list(tmp_path.glob(".*.tmp")), "nothing half written is left"


def test_a_disk_too_full_for_result_and_checkpoint_promises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(bundles, "write_flushed", full)
    monkeypatch.setattr(checkpoint_module, "write_whole", full)
    told = typed(*FINAL, "--epochs", "1", "--out", "net").err.splitlines()
    assert "cannot write the checkpoint" in told[-2]
    assert told[-1].endswith("No space left on device; no checkpoint could be written")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_last_epoch_and_says_how_to_go_on(number: int, code: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nas", *FINAL, "--epochs", "5000"]
    for run in ("first", "second"):
        log = tmp_path / run
        with log.open("w") as stderr, subprocess.Popen(command, cwd=tmp_path, stderr=stderr) as process:
            until = time.monotonic() + 90
            while log.read_text().count("\nepoch ") < 3 and process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            process.send_signal(number)
            assert process.wait(30) == code, log.read_text()
    first, second = (tmp_path / "first").read_text().splitlines(), (tmp_path / "second").read_text()
    told = first[-1].removeprefix("Error: the training was interrupted; the same command resumes at epoch ")
    assert told != first[-1], first
    assert f"resuming at epoch {told}" in second


# Test-time augmentation, by its name


def test_the_mirrored_image_counts_where_it_is_named_and_nowhere_else(tmp_path: Path) -> None:
    pictures = make_folder(tmp_path / "pictures")
    arguments = ("train", "lenet5", "--dataset", pictures, "--resolution", "16", "--epochs", "2", "--batch-size", "16")
    answer = done(*arguments, "--recipe", "final", "--out", "net", "--json").document
    card, readme = json.loads(Path("net/card.json").read_text()), Path("net/README.md").read_text()
    assert 0 <= answer["test_accuracy_flipped"] == card["test_accuracy_flipped"] <= 1
    assert answer["test_accuracy"] == card["test_accuracy"]
    shown = f"{card['test_accuracy_flipped']:.2%}"
    assert f"| test accuracy, logits averaged with the mirrored image's | {shown} |" in readme
    assert f"({shown} averaged with the mirrored image)" in done(*arguments, "--recipe", "final").out
    assert done(*arguments, "--json").document["test_accuracy_flipped"] is None, "a trial's recipe"
    assert done(*FINAL, "--epochs", "1", "--json").document["test_accuracy_flipped"] is None, "digits are not mirrored"


def test_it_is_the_accuracy_of_summed_logits() -> None:
    """Two images are bright at the left edge, two at the right: looking left alone finds the first two."""
    images = torch.zeros(4, 1, 4, 4, dtype=torch.uint8)
    images[:2, :, :, 0] = images[2:, :, :, 3] = 255
    split = Split(images, torch.ones(4, dtype=torch.int64))

    def looks_left(given: Tensor) -> Tensor:
        bright = given[:, 0, 0, 0] / 255
        return torch.stack([torch.full_like(bright, 0.25), bright], 1)

    assert (looks_left(images).argmax(1) == split.labels).tolist() == [True, True, False, False]
    assert mirrored_accuracy(looks_left, split) == 1.0
    assert mirrored_accuracy(lambda given: looks_left(given) * float("nan"), split) == 0.0
