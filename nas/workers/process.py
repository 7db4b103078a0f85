"""One worker as its parent holds it: started, heard, watched, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe

from nas.workers.cores import Share
from nas.workers.messages import Order, Report

WATCHED_AT_ONCE = 1.0  # seconds of silence that one look may count: while this process slept, nobody listened


@dataclass(frozen=True)
class Patience:
    """How many seconds a worker may give no sign: `floor`, and `factor` times its longest silence so far.

    A sign is any message; a training gives one at its steps. What is long between two of them is a start, a large
    validation split, or a frozen learner's training.
    """

    floor: float = 600.0
    factor: float = 20.0


class WorkerLost(Exception):
    """The worker is gone, or was ended because it gave no sign; the message says which."""


class WorkerProcess:
    """A process that runs `nas.workers`, in a process group of its own."""

    def __init__(
        self,
        job: bytes,
        share: Share,
        inherited: tuple[int, ...] = (),
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start it, with the CPUs of its `share` and the descriptors that its job refers to."""
        self.connection, theirs = Pipe()
        cpus = ",".join(map(str, share.cpus or ()))
        arguments = [str(theirs.fileno()), str(os.getpid()), cpus]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "nas.workers", *arguments],
            env=_environment(share.threads),
            pass_fds=(theirs.fileno(), *inherited),
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        theirs.close()
        self._ended = False
        self._silence = _Silence(patience or Patience(), clock)
        with suppress(OSError):  # it has ended: `read` will say how
            self.connection.send_bytes(job)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def send(self, order: Order) -> None:
        with suppress(OSError):  # as above
            self.connection.send(order)

    def watch(self) -> None:
        """Its silence counts from now on: it has been given work."""
        self._silence.end(long=False)

    def read(self) -> Report | None:
        """What it says, None for nothing new.

        Raises:
            WorkerLost: it will never say anything again.
        """
        try:
            if self.connection.poll():
                report: Report = self.connection.recv()
                self._silence.end()
                return report
        except (EOFError, OSError):
            raise WorkerLost(self._last_words()) from None
        if not self.lives and not self.connection.poll():  # a process of its own may hold the pipe open
            raise WorkerLost(self._last_words())
        if self._silence.too_long():
            self.kill()
            raise WorkerLost(f"the worker gave no sign for {self._silence.allowed:.0f} s")
        return None

    def kill(self) -> None:
        """End it and what it started, at once."""
        if self._ended:  # its number may be another's by now
            return
        self._ended = True
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        self.kill()
        if code is None:
            return "the worker closed its pipe"
        if code >= 0:
            return f"the worker ended with exit code {code}"
        hint = ", as when the machine's memory is spent" if code == -signal.SIGKILL else ""
        return f"the worker died with signal {-code} ({signal.Signals(-code).name}){hint}"


class _Silence:
    """Seconds without a sign, of those in which somebody looked."""

    def __init__(self, patience: Patience, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._longest = self._now = 0.0
        self._looked = clock()

    @property
    def allowed(self) -> float:
        return self._patience.floor + self._patience.factor * self._longest

    def too_long(self) -> bool:
        now = self._clock()
        self._now += min(now - self._looked, WATCHED_AT_ONCE)
        self._looked = now
        return self._now > self.allowed

    def end(self, long: bool = True) -> None:
        if long:
            self.too_long()
            self._longest = max(self._longest, self._now)
        self._now = 0.0
        self._looked = self._clock()


def _environment(threads: int) -> dict[str, str]:
    """This process's, with its import path, and thread counts for libraries that read them when they are loaded."""
    path = os.pathsep.join(os.path.abspath(place) for place in sys.path if place or os.getcwd())
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return {**os.environ, **counts, "PYTHONPATH": path}
