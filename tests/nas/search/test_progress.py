"""What a person who waits is told."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from small_search import Heard, score

from nas.progress import LiveProgress, PlainProgress, Progress, make_progress, summary
from searchspace import Architecture, Cost, Stage
from searchspace.blocks import Conv, Residual

ARCHITECTURE = Architecture(
    channels=1, resolution=8, classes=10, stages=(Stage(block=Conv(width=8), depth=2), Stage(block=Residual(width=16)))
)
COST = Cost(12_345, 6_700_000, 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("nas.progress.time.monotonic", lambda: now[0])
    return now


def two_trials(progress: Progress, clock: list[float]) -> None:
    progress.search(10, 2, 0.5, None)
    progress.trial(7, ARCHITECTURE, COST, 3)
    progress.epoch(7, score(1, 0.4))
    clock[0] += 20
    progress.study(3, 0.625)
    progress.ended(7, "COMPLETE", 0.625, None)
    progress.trial(8, ARCHITECTURE, COST, 3)
    clock[0] += 20
    progress.study(4, 0.625)
    progress.ended(8, "PRUNED", 0.25, "the time is up")


def test_plain_lines_tell_trial_size_end_best_and_time_left(clock: list[float], capsys: Any) -> None:
    progress = PlainProgress()
    with progress:
        two_trials(progress, clock)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "trial 7: 2x conv, 1x residual at 8 px; 12.3k params, 6.7M MACs",
        "trial 7: complete at 62.50%; 3/10 trials, best 62.50%, about 2 min 20 s left",
        "trial 8: 2x conv, 1x residual at 8 px; 12.3k params, 6.7M MACs",
        "trial 8: pruned at 25.00% (the time is up); 4/10 trials, best 62.50%, about 2 min 0 s left",
    ]


def test_an_interrupted_trial_does_not_count(clock: list[float], capsys: Any) -> None:
    progress = PlainProgress()
    progress.search(10, 2, None, None)
    progress.trial(0, ARCHITECTURE, COST, 3)
    progress.study(2, None)
    progress.ended(0, "INTERRUPTED", None, "interrupted")
    assert "2/10 trials, best -, about ? left" in capsys.readouterr().err


def test_the_time_left_ends_at_the_deadline(clock: list[float]) -> None:
    progress = PlainProgress()
    progress.search(1000, 0, None, clock[0] + 90)
    assert progress.left() == "1 min 30 s"
    clock[0] += 60
    progress.study(1, None)
    progress.ended(0, "FAIL", None, "x")
    assert progress.left() == "30 s"
    clock[0] += 60
    assert progress.left() == "0 s"


@pytest.mark.parametrize("width", [30, 100, 200])
def test_bars_are_drawn_on_a_terminal(clock: list[float], monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(width))
    progress = make_progress()
    assert isinstance(progress, LiveProgress)
    with progress:
        progress.note("a note [bold]as it is[/bold]")
        two_trials(progress, clock)
    drawn = terminal.getvalue()
    assert "[bold]as it is[/bold]" in drawn
    assert "trial 7: complete at 62.50%, 12.3k params, 6.7M MACs" in drawn
    assert "trial 8: pruned at 25.00%" in drawn
    if width >= 100:
        assert "4/10" in drawn
        assert "best 62.50%" in drawn
    assert drawn.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in drawn, "the cursor comes back"


def test_a_search_shows_itself_on_a_terminal(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from small_search import small_search

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with make_progress() as progress:
        small_search(storage, budget=2, progress=progress)
    assert "2/2" in terminal.getvalue()


def test_lines_without_a_terminal_and_nothing_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(make_progress(), PlainProgress)
    assert type(make_progress(quiet=True)) is Progress
    two_trials(Progress(), [0.0])
    assert isinstance(Heard(), Progress)


def test_an_architecture_in_a_line() -> None:
    assert summary(ARCHITECTURE) == "2x conv, 1x residual at 8 px"
