"""The seam between a search and what trains: one call that yields scores, and how many such calls run at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Protocol

from nas.errors import RunError
from nas.training.score import Diverged, EpochScore, Stopped
from nas.training.trial import OutOfMemory
from searchspace import Architecture


class Evaluate(Protocol):
    """The outside world of a search: trains an architecture and yields a score per epoch, counted from 1.

    None says that there is no score yet, so that other trials get their turn; the caller then waits (`Lanes.wait`).
    """

    def __call__(
        self, architecture: Architecture, *, seed: int, stop: Callable[[], bool]
    ) -> Iterator[EpochScore | None]: ...


class Lanes(Protocol):
    """How many trials a search has under way at once, and the wait for news of any of them."""

    @property
    def count(self) -> int: ...

    def wait(self) -> None: ...


class OneLane:
    """One trial after the other, trained in the search's own process."""

    count = 1

    def wait(self) -> None:
        """There is nothing to wait for: such a training never yields None."""


class TrainingFailed(Exception):
    """The training raised an error that it does not foresee; the trial fails and the search goes on."""


class Unavailable(Exception):
    """Nobody was there to train the trial: it has not begun, and another one will take its place in the budget."""


def guarded(train: Callable[[], Iterator[EpochScore | None]]) -> Generator[EpochScore | None]:
    """The training's scores, with every error of it that nobody foresaw as TrainingFailed, also at its first call."""
    try:
        yield from train()
    except (Diverged, OutOfMemory, Stopped, TrainingFailed, Unavailable, RunError):
        raise
    except Exception as error:
        raise TrainingFailed(describe(error)) from error


def describe(error: BaseException) -> str:
    """The error in one line: its type and the first line of what it says."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
