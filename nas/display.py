"""How long work is shown to the person who waits: not at all, in lines, or with bars. Subclasses say what is shown."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self


class Display:
    """Shows nothing; the base of the others."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """A line worth keeping."""


class PlainLines(Display):
    """Lines on standard error."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class LiveBars(Display):
    """Bars on a terminal's standard error, while entered, below the notes. A bar's `facts` stand behind it."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.console = Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
            console=self.console,
        )

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
