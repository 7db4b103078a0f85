"""What a search tells the person who waits: a live display on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from nas.display import Display, LiveBars, PlainLines
from nas.quantities import show_count, show_duration
from searchspace import Architecture, Cost

if TYPE_CHECKING:
    from rich.progress import TaskID


class EpochLike(Protocol):
    """What the display needs of an epoch's score."""

    @property
    def epoch(self) -> int: ...
    @property
    def val_accuracy(self) -> float: ...


class Progress(Display):
    """Tells nothing; the base of the others. `budget` and `done` count trials over all runs of the study."""

    def forecast(self, look: Callable[[], str]) -> None:
        """What the search will take, which costs a second to find out: not asked for where nobody is told."""

    def search(self, budget: int, done: int, best: float | None, deadline: float | None) -> None:
        """The search begins; `deadline` is on the monotonic clock."""

    def study(self, done: int, best: float | None) -> None:
        """What all processes have done in the study by now; said before each trial's end, which it counts."""

    def trial(self, number: int, architecture: Architecture, cost: Cost, epochs: int) -> None:
        """A trial's training begins; several may be under way at once."""

    def epoch(self, number: int, score: EpochLike) -> None:
        """An epoch of a trial ended."""

    def ended(self, number: int, status: str, val_accuracy: float | None, reason: str | None) -> None:
        """A trial ended."""


def summary(architecture: Architecture) -> str:
    """The body in a line: `2x conv, 3x residual, 6x dense`."""
    parts = [f"{stage.depth}x {stage.block.kind}" for stage in architecture.stages]
    return f"{', '.join(parts)} at {architecture.resolution} px"


class _Told(Progress):
    """Keeps count; the two below show it."""

    def __init__(self) -> None:
        self.budget = self.done = self.before = 0
        self.best: float | None = None
        self.started = time.monotonic()
        self.deadline: float | None = None

    def forecast(self, look: Callable[[], str]) -> None:
        self.note(look())

    def search(self, budget: int, done: int, best: float | None, deadline: float | None) -> None:
        self.budget, self.before, self.deadline = budget, done, deadline
        self.started = time.monotonic()
        self.study(done, best)

    def study(self, done: int, best: float | None) -> None:
        self.done, self.best = done, best

    def left(self) -> str:
        """Time left at the pace so far, of all processes, or to the deadline if that is nearer."""
        now = time.monotonic()
        times = []
        if self.done > self.before:
            times.append((now - self.started) / (self.done - self.before) * (self.budget - self.done))
        if self.deadline is not None:
            times.append(max(0.0, self.deadline - now))
        return show_duration(min(times)) if times else "?"

    def best_text(self) -> str:
        return "-" if self.best is None else f"{self.best:.2%}"


class PlainProgress(PlainLines, _Told):
    """One line a trial on standard error."""

    def trial(self, number: int, architecture: Architecture, cost: Cost, epochs: int) -> None:
        size = f"{show_count(cost.params)} params, {show_count(cost.macs)} MACs"
        name = f"{architecture.name}, " if architecture.name else ""
        self.note(f"trial {number}: {name}{summary(architecture)}; {size}")

    def ended(self, number: int, status: str, val_accuracy: float | None, reason: str | None) -> None:
        accuracy = "" if val_accuracy is None else f" at {val_accuracy:.2%}"
        because = f" ({reason})" if reason else ""
        self.note(
            f"trial {number}: {status.lower()}{accuracy}{because}; "
            f"{self.done}/{self.budget} trials, best {self.best_text()}, about {self.left()} left"
        )


class LiveProgress(LiveBars, _Told):
    """Bars for the budget and each trial under way on a terminal's standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.bars.add_task("search", total=None, facts="")
        self.shown: dict[int, tuple[TaskID, str]] = {}  # trial number: its bar, its size in words

    def _show_total(self) -> None:
        facts = f"best {self.best_text()}, about {self.left()} left"
        self.bars.update(self.total, total=self.budget, completed=self.done, facts=facts)

    def search(self, budget: int, done: int, best: float | None, deadline: float | None) -> None:
        super().search(budget, done, best, deadline)
        self._show_total()

    def trial(self, number: int, architecture: Architecture, cost: Cost, epochs: int) -> None:
        size = f"{show_count(cost.params)} params, {show_count(cost.macs)} MACs"
        self.shown[number] = self.bars.add_task(f"trial {number}", total=epochs, facts=size), size

    def epoch(self, number: int, score: EpochLike) -> None:
        bar, size = self.shown[number]
        self.bars.update(bar, completed=score.epoch, facts=f"{size}, {score.val_accuracy:.2%}")
        self._show_total()

    def ended(self, number: int, status: str, val_accuracy: float | None, reason: str | None) -> None:
        accuracy = "" if val_accuracy is None else f" at {val_accuracy:.2%}"
        because = f" ({reason})" if reason else ""
        bar, size = self.shown.pop(number)
        self.note(f"trial {number}: {status.lower()}{accuracy}, {size}{because}")
        self.bars.remove_task(bar)
        self._show_total()


def make_progress(quiet: bool = False) -> Progress:
    """Bars where standard error is a terminal, lines where it is not, nothing when quiet."""
    if quiet:
        return Progress()
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()
