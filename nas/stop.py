"""When to stop: a signal, or a deadline."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal ended the work at once; `signal` is the number of the first that came."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.signal = number


class StopSignal:
    """True once SIGINT or SIGTERM came or the deadline passed; as a context manager it listens for the signals.

    The first signal lets the current step finish and the trial be recorded; a second one raises Interrupted.
    Outside the main thread Python cannot listen, and only the deadline counts.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.signal: int | None = None
        self._came = 0
        self._enough = 2
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    @contextmanager
    def after(self, signals: int) -> Iterator[None]:
        """Raise Interrupted inside the block as soon as so many signals came: 1 while nothing is recorded yet, 3 while
        a record is being written, so that two impatient signals do not leave half of one.
        """
        before, self._enough = self._enough, signals
        try:
            self._raise_if_enough()
            yield
        finally:
            self._enough = before

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        self._came += 1
        self._raise_if_enough()

    def _raise_if_enough(self) -> None:
        if self.signal is not None and self._came >= self._enough:
            raise Interrupted(self.signal)

    @property
    def interrupted(self) -> bool:
        return self.signal is not None

    @property
    def late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def __call__(self) -> bool:
        return self.interrupted or self.late
