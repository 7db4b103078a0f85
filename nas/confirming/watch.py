"""What a confirmation tells the person who waits: bars on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from nas.training.score import EpochScore


class Watch:
    """Tells nothing; the base of the others."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """A line worth keeping."""

    def begins(self, number: int, total: int, text: str, epochs: int) -> None:
        """A training begins, the `number`th of `total`."""

    def epoch(self, score: EpochScore, epochs: int) -> None:
        """An epoch of it ended."""

    def ended(self, text: str) -> None:
        """It ended."""


class Lines(Watch):
    """A line for each training, on standard error."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def begins(self, number: int, total: int, text: str, epochs: int) -> None:
        self._what = f"{number}/{total} {text}"

    def ended(self, text: str) -> None:
        self.note(f"{self._what}: {text}")


class Bars(Watch):
    """A bar for all trainings and one for that under way, on a terminal's standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.console = Console(stderr=True)
        facts = TextColumn("{task.fields[facts]}", markup=False)
        what = TextColumn("{task.description}", markup=False)
        self.bars = Progress(what, BarColumn(), MofNCompleteColumn(), facts, console=self.console)
        self.all = self.bars.add_task("trainings", total=None, facts="")
        self.now = self.bars.add_task("", total=None, facts="", visible=False)
        self._what = ""

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begins(self, number: int, total: int, text: str, epochs: int) -> None:
        self._what = text
        self.bars.update(self.all, total=total, completed=number - 1)
        self.bars.reset(self.now, total=epochs, description=text, facts="", visible=True)

    def epoch(self, score: EpochScore, epochs: int) -> None:
        self.bars.update(self.now, completed=score.epoch, facts=f"{score.val_accuracy:.2%}")

    def ended(self, text: str) -> None:
        self.bars.advance(self.all)
        self.bars.update(self.now, visible=False)
        self.note(f"{self._what}: {text}")


def make_watch(quiet: bool = False) -> Watch:
    """Bars where standard error is a terminal, lines where it is not, nothing when quiet."""
    if quiet:
        return Watch()
    return Bars() if sys.stderr.isatty() else Lines()
