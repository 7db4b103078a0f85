"""What a confirmation tells the person who waits: bars on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys

from nas.display import Display, LiveBars, PlainLines
from nas.training.score import EpochScore


class Watch(Display):
    """Tells nothing; the base of the others."""

    def begins(self, number: int, total: int, text: str, epochs: int) -> None:
        """A training begins, the `number`th of `total`."""

    def epoch(self, score: EpochScore, epochs: int) -> None:
        """An epoch of it ended."""

    def ended(self, text: str) -> None:
        """It ended."""


class Lines(PlainLines, Watch):
    """A line for each training, on standard error."""

    def begins(self, number: int, total: int, text: str, epochs: int) -> None:
        self._what = f"{number}/{total} {text}"

    def ended(self, text: str) -> None:
        self.note(f"{self._what}: {text}")


class Bars(LiveBars, Watch):
    """A bar for all trainings and one for that under way, on a terminal's standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.all = self.bars.add_task("trainings", total=None, facts="")
        self.now = self.bars.add_task("", total=None, facts="", visible=False)
        self._what = ""

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
