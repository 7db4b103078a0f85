"""Searches of milliseconds a trial: small spaces, a training that is faked, and what must hold after any of them."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.interruption import REASON
from nas.progress import Progress
from nas.result import SearchResult
from nas.searching import search
from nas.study import EVALUATION, TwinStudy, optuna_storage
from nas.training.score import EpochScore
from searchspace import Architecture, Dimension, SearchSpace, Stage, Task
from searchspace.blocks import Conv
from searchspace.spaces import SPACES
from studies import COMPLETE, FAIL, INTERRUPTED, PRUNED, RUNNING, StudyStore, all_trials

EPOCHS = 3


def body(choices: Any, task: Task) -> Architecture:
    block = Conv(width=int(choices["width"]), kernel_size=int(choices.get("kernel", 3)))
    stage = Stage(block=block, depth=int(choices.get("depth", 1)))
    return Architecture(channels=task.channels, resolution=task.resolution, classes=task.classes, stages=(stage,))


WIDE = SearchSpace(
    "test-wide",
    "40 networks",
    (
        Dimension("width", (8, 16, 24, 32, 40), ordered=True),
        Dimension("depth", (1, 2, 3, 4), ordered=True),
        Dimension("kernel", (1, 3)),
    ),
    body,
)
TWINS = SearchSpace(
    "test-twins",
    "4 networks, each with 3 names",
    (Dimension("width", (8, 16, 24, 32), ordered=True), Dimension("decoy", ("a", "b", "c"))),
    body,
)
NETWORKS_OF_TWINS = 4


def accuracy_of(architecture: Architecture) -> float:
    """Between 0.1 and 0.9, without a law, the same on every machine."""
    return 0.1 + 0.8 * int(architecture.digest[:8], 16) / 2**32


@dataclass
class Fake:
    """A training that only remembers what it was asked; `pause` seconds an epoch."""

    epochs: int = EPOCHS
    pause: float = 0.0
    accuracy: Callable[[Architecture], float] = accuracy_of
    trained: list[Architecture] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    def __call__(self, architecture: Architecture, *, seed: int, stop: Callable[[], bool]) -> Iterator[EpochScore]:
        self.trained.append(architecture)
        self.seeds.append(seed)
        for epoch in range(1, self.epochs + 1):
            time.sleep(self.pause)
            yield score(epoch, self.accuracy(architecture))

    @property
    def digests(self) -> list[str]:
        return [architecture.digest for architecture in self.trained]


def score(epoch: int, accuracy: float = 0.5, **changes: Any) -> EpochScore:
    facts = {"train_loss": 1.0 / epoch, "seconds": 0.01, "images_per_second": 100.0, "batch_size": 128}
    return EpochScore(epoch=epoch, val_accuracy=accuracy, **{**facts, **changes})


def small_search(storage: str, space: SearchSpace = WIDE, **settings: Any) -> SearchResult:
    SPACES.setdefault(space.name, space)
    given = {"budget": 5, "epochs": EPOCHS, "device": "cpu", "limit_train": 200, "study": "s", "evaluate": Fake()}
    given |= {"pruner": "asha"}  # three epochs are too few for rungs
    return search("digits", space=space.name, storage=storage, **{**given, **settings})


class Heard(Progress):
    """Remembers what the search told: each result that was acknowledged, how the study stood then, and the notes."""

    def __init__(self) -> None:
        self.standings: list[tuple[int, float | None]] = []
        self.ends: list[tuple[int, str, float | None]] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def study(self, done: int, best: float | None) -> None:
        self.standings.append((done, best))

    def ended(self, number: int, status: str, val_accuracy: float | None, reason: str | None) -> None:
        self.ends.append((number, status, val_accuracy))


def optuna_trials(storage: str, study: str = "s") -> list[FrozenTrial]:
    """The study's trials as Optuna's own reader sees them."""
    with optuna_study(storage, study) as loaded:
        return loaded.get_trials()


@contextmanager
def optuna_study(storage: str, study: str = "s") -> Iterator[optuna.Study]:
    with twin_study(storage, study) as twin:
        yield twin.study


@contextmanager
def twin_study(storage: str, study: str = "s") -> Iterator[TwinStudy]:
    """The study as another process has it open."""
    with StudyStore(storage) as store:
        opened = optuna_storage(store)
        twin = TwinStudy(store, store.study(study), optuna.load_study(storage=opened, study_name=study), opened)
        yield twin
        twin.close()


_STATE = {
    COMPLETE: TrialState.COMPLETE,
    PRUNED: TrialState.PRUNED,
    FAIL: TrialState.FAIL,
    INTERRUPTED: TrialState.FAIL,
}


def assert_settled(storage: str, done: int, study: str = "s") -> None:
    """Nothing runs, exactly `done` trainings have ended and used a slot each, and both homes tell the same of them."""
    with StudyStore(storage) as store:
        row = store.study(study)
        slots = store.slot_counts(row.id)
        evaluations = all_trials(store, row.id).to_dict("records")
    trials = optuna_trials(storage, study)
    by_evaluation = {trial.user_attrs.get(EVALUATION): trial for trial in trials}
    assert slots["CLAIMED"] == 0
    assert slots["DONE"] == done
    assert [trial.number for trial in trials if trial.state == TrialState.RUNNING] == []
    assert [row for row in evaluations if row["status"] == RUNNING] == []
    trained = [row for row in evaluations if row["status"] in (COMPLETE, PRUNED, FAIL)]
    assert len(trained) == done
    assert len({row["digest"] for row in trained}) == done, "an architecture was trained twice"
    for evaluation in evaluations:
        trial = by_evaluation.pop(evaluation["evaluation_id"])
        assert trial.state == _STATE[evaluation["status"]]
        assert (trial.user_attrs.get(REASON) == "interrupted") == (evaluation["status"] == INTERRUPTED)
        if trial.state == TrialState.COMPLETE:
            assert trial.value == evaluation["val_accuracy"]
    # Over a limit, a duplicate, or left behind before its training began.
    assert {trial.state for trial in by_evaluation.values()} <= {TrialState.FAIL, TrialState.PRUNED, TrialState.WAITING}


class Child:
    """A forked process that runs `work`: no import to wait for. What it prints goes to a file."""

    def __init__(self, work: Callable[[], Any], output: Path) -> None:
        self.output = output
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid:
            return
        code = 70
        try:
            sink = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
            sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
            signal.setitimer(signal.ITIMER_REAL, 0)  # pytest-timeout's alarm is the parent's
            work()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def says(self, text: str, seconds: float = 60.0) -> None:
        """Wait until it printed `text`."""
        until = time.monotonic() + seconds
        while text not in (self.text if self.output.exists() else ""):
            assert time.monotonic() < until, f"it did not print {text!r} but {self.text!r}"
            time.sleep(0.01)

    @property
    def text(self) -> str:
        return self.output.read_text()

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        """Wait for its end: the exit code, or minus the signal's number."""
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)
