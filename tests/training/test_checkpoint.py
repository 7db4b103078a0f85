"""A training that was ended goes on from its checkpoint, and ends bit by bit where an unbroken one does."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.errors import RunError
from nas.training import checkpoint as checkpoints
from nas.training import loop
from nas.training.checkpoint import Checkpoint, checkpoint_file, digest_of
from nas.training.data import Dataset, load_dataset
from nas.training.distributed import ALONE
from nas.training.long_run import LongRun, here
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe, fine_tuning
from nas.training.score import EpochScore
from nas.training.trial import train_to_the_end
from searchspace import Architecture, Stage, build
from searchspace.blocks import Conv, Residual

ARCHITECTURE = Architecture(
    channels=1,
    resolution=8,
    classes=10,
    stages=(Stage(block=Conv(width=8)), Stage(block=Residual(width=16), stride=2)),
    drop_path=0.3,
)
DEFAULT = Recipe(epochs=4, batch_size=32, cutout=0.25)
SGD = Recipe(epochs=4, batch_size=32, cutout=0.25, optimizer="sgd")
ADAM = Recipe(epochs=4, batch_size=32, optimizer="adam", schedule="plateau", plateau_patience=0)
FINE_TUNING = fine_tuning(SGD).model_copy(update={"frozen_epochs": 2})
RECIPES = {"the default": DEFAULT, "sgd": SGD, "adam on plateaus": ADAM, "fine-tuning": FINE_TUNING}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Equal results are promised for an equal number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def few() -> Dataset:
    return load_dataset("digits", limit_train=150)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are written after every epoch."""
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)


class Runs:
    """Trainings with one checkpoint file; `said` is what they told."""

    def __init__(self, dataset: Dataset, file: Path, recipe: Recipe = SGD) -> None:
        self.dataset, self.file, self.recipe = dataset, file, recipe
        self.said: list[str] = []
        torch.manual_seed(7)
        fresh = build(ARCHITECTURE).state_dict()
        self.trunk = dict(list(fresh.items())[:-2]) if recipe.frozen_epochs else None

    def checkpoint(self, **place: Any) -> Checkpoint:
        device = self.dataset.train.images.device
        return Checkpoint(self.file, here(device, ALONE, False) | place, self.said.append)

    def train(self, run: LongRun | None = None, steps: int | None = None) -> tuple[dict[str, Tensor], list[EpochScore]]:
        """Train to the end, or until so many steps were taken."""
        run = run or LongRun(checkpoint=self.checkpoint(), say=self.said.append)
        left = iter(range(steps if steps is not None else 10**9))
        network, scores = train_to_the_end(
            ARCHITECTURE,
            self.dataset,
            self.recipe,
            0,
            stop=lambda: next(left, None) is None,
            trunk=self.trunk,
            run=run,
        )
        return {name: tensor.clone() for name, tensor in network.state_dict().items()}, scores


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def figures(scores: list[EpochScore]) -> list[tuple[int, float, float]]:
    return [(score.epoch, score.train_loss, score.val_accuracy) for score in scores]


# Bit by bit


@pytest.mark.parametrize("name", RECIPES)
def test_an_interrupted_training_ends_where_an_unbroken_one_does(few: Dataset, tmp_path: Path, name: str) -> None:
    """Steps an epoch: 4. It is stopped in the second, the third and the fourth epoch."""
    recipe = RECIPES[name]
    whole, expected = Runs(few, tmp_path / "none", recipe).train(LongRun())
    runs = Runs(few, tmp_path / "checkpoints" / "a.safetensors", recipe)
    for steps, epoch in ((6, 2), (5, 3), (6, 4)):
        with pytest.raises(RunError, match=f"the same command resumes at epoch {epoch} of 4"):
            runs.train(steps=steps)
    state, scores = runs.train()
    assert runs.said == [f"resuming at epoch {epoch} of 4" for epoch in (2, 3, 4)]
    assert equal(state, whole)
    assert figures(scores) == figures(expected)
    assert sum(score.seconds for score in scores) > 0, "the time of all epochs is known"


@pytest.mark.parametrize("lost", ["inner", "taken"])
def test_without_a_part_of_the_optimizers_state_it_ends_elsewhere(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The control: the comparison above sees what a checkpoint forgets."""
    whole, _ = Runs(few, tmp_path / "none").train(LongRun())
    real, fresh = Optimizer.restore, {"taken": torch.tensor(0.0)}

    def forgetful(self: Optimizer, state: dict[str, Tensor]) -> None:
        kept = {name: value for name, value in state.items() if not name.startswith(lost)}
        real(self, {name: value for name, value in fresh.items() if name == lost} | kept)

    monkeypatch.setattr(Optimizer, "restore", forgetful)
    runs = Runs(few, tmp_path / "a.safetensors")
    with pytest.raises(RunError):
        runs.train(steps=9)
    state, _ = runs.train()
    assert not equal(state, whole)


def test_a_training_whose_epochs_are_all_done_trains_no_more(few: Dataset, tmp_path: Path) -> None:
    runs = Runs(few, tmp_path / "a.safetensors")
    first, scores = runs.train()
    again, same = runs.train(steps=0)
    assert equal(first, again)
    assert figures(scores) == figures(same)
    assert runs.said == ["all 4 epochs are done"]


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from test_checkpoint import Runs, checkpoints
from nas.training.checkpoint import digest_of
from nas.training.data import load_dataset

checkpoints.SECONDS = 0.0
dataset, folder, moments = load_dataset("digits", limit_train=150), Path(sys.argv[2]), random.Random(0)

def train(file):
    runs = Runs(dataset, file)
    runs.recipe = runs.recipe.model_copy(update={"epochs": 30})
    Path(f"{file}.digest").write_text(digest_of(runs.train()[0]))
    os._exit(0)

def run(file, patience):  # in a child, which has imported everything; whether it was killed
    child = os.fork()
    if not child:
        train(file)
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL

run(folder / "unbroken", 600)
kills, number = 0, 0
while kills < 60:
    number += 1
    while run(folder / f"{number}.safetensors", moments.uniform(0.05, 0.6)):
        kills += 1
print(kills, *sorted({path.read_text() for path in folder.glob("*.digest")}), *folder.glob(".*.tmp"))
"""


@pytest.mark.slow
def test_a_training_killed_at_random_moments_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    """SIGKILL, 60 times in all: no moment is chosen, and none may matter."""
    program = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path)]
    answer = subprocess.run(
        program, capture_output=True, text=True, timeout=500, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert answer.returncode == 0, answer.stderr
    kills, *digests = answer.stdout.split()
    assert int(kills) >= 60
    assert len(digests) == 1, "all ended with the same weights, and no half written file is left"
    assert len(list(tmp_path.glob("*.digest"))) > 2


# What it goes on from


def test_it_is_found_by_what_was_asked_for_and_by_nothing_else(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"architecture": "a", "data": ["b", (0.5,)], "recipe": SGD.model_dump(), "seed": 0}
    file = checkpoint_file(tmp_path, **asked)
    assert file.parent == tmp_path / "checkpoints"
    assert checkpoint_file(tmp_path, **dict(reversed(asked.items()))) == file
    others = [asked | {"seed": 1}, asked | {"architecture": "c"}, asked | {"recipe": ADAM.model_dump()}]
    assert len({file, *(checkpoint_file(tmp_path, **other) for other in others)}) == 4


def test_a_digest_of_weights_is_of_names_kinds_and_values() -> None:
    one = {"a": torch.ones(2, 3), "b": torch.tensor(1)}
    assert digest_of(one) == digest_of(dict(reversed(one.items())))
    others = [one | {"a": torch.ones(3, 2)}, one | {"a": torch.ones(2, 3).bfloat16()}, one | {"b": torch.tensor(2)}]
    others.append({"a": one["a"], "c": one["b"]})
    assert len({digest_of(state) for state in [one, *others]}) == 5


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("damage", ["empty", "cut off", "a bit", "a fact", "text", "another program's"])
def test_a_damaged_checkpoint_is_told_and_the_training_starts_over(few: Dataset, tmp_path: Path, damage: str) -> None:
    runs = Runs(few, tmp_path / "a.safetensors")
    with pytest.raises(RunError):
        runs.train(steps=9)
    data = bytearray(runs.file.read_bytes())
    if damage == "a bit":
        data[-100] ^= 1
    if damage == "a fact":
        data = data.replace(rb"\"val_accuracy\": 0.", rb"\"val_accuracy\": 1.")
    foreign = b"\x02" + bytes(7) + b"{}"
    contents = {"empty": b"", "cut off": data[:-1], "text": b"checkpoint " * 20, "another program's": foreign}
    runs.file.write_bytes(contents.get(damage, bytes(data)))
    state, scores = runs.train()
    assert len(runs.said) == 1
    assert str(runs.file) in runs.said[0]
    assert "is damaged, so the training starts over" in runs.said[0]
    assert [score.epoch for score in scores] == [1, 2, 3, 4]
    assert equal(state, Runs(few, tmp_path / "none").train(LongRun())[0])


def test_another_machine_goes_on_too_and_says_what_differs(few: Dataset, tmp_path: Path) -> None:
    runs = Runs(few, tmp_path / "a.safetensors")
    with pytest.raises(RunError):
        runs.train(LongRun(checkpoint=runs.checkpoint(torch="2.10.0"), say=runs.said.append), steps=9)
    runs.train()
    assert runs.said[0] == "resuming at epoch 3 of 4"
    assert f"torch 2.10.0, now {torch.__version__.split('+')[0]}" in runs.said[1]


# When it is written


def test_it_is_written_now_and_then_and_at_the_end(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after every epoch of a few milliseconds: its clock, which shows 12 s more at each look, says when."""
    clock = iter(range(0, 10**6, 12))
    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    written: list[int] = []
    real = checkpoints._to_bytes
    monkeypatch.setattr(checkpoints, "_to_bytes", lambda point: written.append(point.epoch) or real(point))
    runs = Runs(few, tmp_path / "a.safetensors", SGD.model_copy(update={"epochs": 5}))
    runs.train()
    assert written == [3, 5]


def test_a_training_stopped_in_its_first_epoch_leaves_nothing(few: Dataset, tmp_path: Path) -> None:
    runs = Runs(few, tmp_path / "a.safetensors")
    with pytest.raises(RunError, match="no epoch had ended, so nothing was written"):
        runs.train(steps=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("at_once")
def test_a_full_disk_is_told_once_and_the_training_goes_on(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(few, tmp_path / "a.safetensors")
    real, calls = checkpoints.write_whole, iter(range(100))

    def write(path: Path, data: bytes) -> None:
        if next(calls) >= 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data)

    monkeypatch.setattr(checkpoints, "write_whole", write)
    state, scores = runs.train()
    assert len(scores) == 4
    assert len(runs.said) == 1
    assert "No space left on device; the training goes on, the last one is of epoch 1" in runs.said[0]
    monkeypatch.undo()
    runs.said.clear()
    again, _ = runs.train()
    assert runs.said == ["resuming at epoch 2 of 4"], "the older checkpoint is whole"
    assert equal(state, again)


def test_what_a_killed_writer_left_is_swept(few: Dataset, tmp_path: Path) -> None:
    runs = Runs(few, tmp_path / "a.safetensors")
    for name in (".a.safetensors.0123.tmp", ".b.safetensors.0123.tmp"):
        (tmp_path / name).write_bytes(b"half")
    runs.checkpoint()
    assert [path.name for path in tmp_path.iterdir()] == [".b.safetensors.0123.tmp"], "and nobody else's"


# What goes wrong


def test_memory_that_sufficed_for_an_epoch_is_waited_for(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halving the batch would start over; another process took the memory, and will give it back."""
    whole, _ = Runs(few, tmp_path / "none").train(LongRun())
    runs = Runs(few, tmp_path / "a.safetensors")
    out_of_memory_from(9, monkeypatch)
    with pytest.raises(RunError, match=r"out of memory with 32 images a batch.*resumes at epoch 3"):
        runs.train()
    monkeypatch.undo()
    assert equal(runs.train()[0], whole)


def test_memory_that_never_sufficed_halves_the_batch_and_the_checkpoint_knows(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = SGD.model_copy(update={"batch_size": 16})
    halved, _ = Runs(few, tmp_path / "none", recipe).train(LongRun())
    runs = Runs(few, tmp_path / "a.safetensors")
    out_of_memory_from(1, monkeypatch, larger_than=16)
    with pytest.raises(RunError, match="resumes at epoch 2"):
        runs.train(steps=13)
    state, scores = runs.train()
    assert {score.batch_size for score in scores} == {16}
    assert equal(state, halved)


def out_of_memory_from(step: int, monkeypatch: pytest.MonkeyPatch, larger_than: int = 0) -> None:
    real, calls = loop.functional.cross_entropy, iter(range(1, 10**6))

    def cross_entropy(output: Any, labels: Any, **settings: Any) -> Any:
        if len(labels) > larger_than and next(calls) >= step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(output, labels, **settings)

    monkeypatch.setattr(loop.functional, "cross_entropy", cross_entropy)


def test_a_training_that_diverges_leaves_no_checkpoint(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on to diverge again."""
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    real, calls = loop.functional.cross_entropy, iter(range(1, 10**6))

    def cross_entropy(*arguments: Any, **settings: Any) -> Any:
        return real(*arguments, **settings) * (1.0 if next(calls) < 9 else float("nan"))

    monkeypatch.setattr(loop.functional, "cross_entropy", cross_entropy)
    runs = Runs(few, tmp_path / "a.safetensors")
    with pytest.raises(RunError, match="the loss was nan in epoch 3"):
        runs.train()
    assert not runs.file.exists()
