"""The workers of a search: they start, train, are replaced when they are lost, and end with it."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing.connection import wait
from typing import Self, cast

import torch
from torch import nn

from nas.errors import NasError, RunError
from nas.evaluate import TrainingFailed, Unavailable
from nas.training.device import describe_device
from nas.training.score import EpochScore, Stopped
from nas.workers.capacity import fit_more, fit_on_device, memory_text
from nas.workers.cores import Share
from nas.workers.messages import DeviceMemory, Drop, Ended, GoOn, Job, NotReady, Ready, Scored, Stop, Train
from nas.workers.process import Patience, WorkerLost, WorkerProcess
from nas.workers.remote import RemoteNetwork
from searchspace import Architecture

TICK = 0.1  # seconds after which a stop is heard when no worker says anything
STARTS = 3  # times in a row that a worker may fail to start before its seat stays empty


@dataclass
class Seat:
    """A place for one worker: its device, its CPUs, the process that has it now, and whether that is training."""

    device: str
    share: Share
    worker: WorkerProcess | None = None
    ready: bool = False
    busy: bool = False
    memory: DeviceMemory | None = None  # what the worker found on its device when it was ready
    proven: bool = False  # it has trained an epoch, and so taken the memory that it needs
    failed_starts: int = 0

    @property
    def given_up(self) -> bool:
        return self.worker is None and self.failed_starts >= STARTS


class _NotBegun(Exception):
    """The worker was lost before it looked at the trial, which cannot be the cause."""


class WorkerPool:
    """Trains the trials of a search in processes of their own; its `evaluate` and `count` are what SearchRun takes.

    Everything happens in the thread that calls. A worker that is lost fails the trial it had, and another process takes
    its seat. With `grow` there is at first one worker a device, and as many more as fit by the memory that trials took.
    """

    def __init__(
        self,
        job: Job,
        seats: Sequence[Seat],
        *,
        grow: bool = False,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.seats = list(seats)
        self._job = job
        self._patience = patience
        self._clock = clock
        self._note = note
        self._trials = count(1)
        self._reason = ""
        seats_of = Counter(seat.device for seat in seats)
        self._peaks = dict.fromkeys(seats_of, 0)
        self._fitting = dict.fromkeys(seats_of, 1) if grow else dict(seats_of)

    # The life of the pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the workers and wait for the first, so that what none can do is known before a search begins.

        Raises:
            NasError: it could not start, or more were asked for than its device holds.
        """
        first = self.seats[0]
        if first.device == "cpu":
            self._fill()  # they load their libraries at the same time; a device is asked first how many it holds
        else:
            self._start(first)
        while not first.ready:
            if first.failed_starts:
                raise NasError(f"no worker could start on {first.device}: {self._reason}{_advice(self._reason)}")
            self._listen()
        self._require_room(first)
        self._fill()

    def close(self) -> None:
        """End all workers, whatever they do; to be called once."""
        for seat in self.seats:
            if seat.worker is not None:
                seat.worker.kill()
                seat.worker, seat.ready = None, False
        if self._job.dataset is not None:
            self._job.dataset.close()

    # What a search needs: Lanes and Evaluate

    @property
    def device(self) -> str:
        """The devices, as people name them."""
        *others, last = self._fitting
        return ", ".join([*others, describe_device(torch.device(last), self.seats[0].share.threads)])

    @property
    def count(self) -> int:
        """Trials that may be under way: one for each worker that is ready, and one where all are starting.

        Raises:
            RunError: no worker is left, and none could be started.
        """
        if all(seat.given_up for seat in self._open_seats()):
            raise RunError(f"no worker could be started any more: {self._reason}")
        return max(1, sum(seat.ready for seat in self.seats))

    def wait(self) -> None:
        """Return when a worker says something, and at the latest after TICK seconds."""
        self._listen()
        self._fill()

    def _listen(self) -> None:
        watched = [seat.worker.connection for seat in self.seats if seat.worker and (seat.busy or not seat.ready)]
        if watched:
            wait(watched, TICK)
        else:
            time.sleep(TICK)
        self._hear_starting()

    def evaluate(
        self, architecture: Architecture, *, seed: int, stop: Callable[[], bool]
    ) -> Iterator[EpochScore | None]:
        """Train in a worker; see `nas.evaluate.Evaluate`. The network of a score is a `RemoteNetwork`.

        Raises:
            TrainingFailed: the training failed, or its worker was lost.
            Unavailable: no worker is left.
            Diverged, OutOfMemory, Stopped: as the training raised them.
        """
        while True:
            while (seat := self._free_seat()) is None:
                if stop():
                    raise Stopped
                yield None
            seat.busy = True
            try:
                yield from self._train(seat, Train(next(self._trials), architecture.to_json(), seed), stop)
                return
            except _NotBegun:
                continue
            finally:
                seat.busy = False

    def _train(self, seat: Seat, order: Train, stop: Callable[[], bool]) -> Iterator[EpochScore | None]:
        """One trial in this seat's worker.

        Raises:
            _NotBegun: the worker was lost before it looked at the trial, which another may train.
        """
        worker, begun, stopped = seat.worker, False, False
        assert worker is not None
        worker.watch()
        worker.send(order)
        try:
            while True:
                report = worker.read()
                ours = getattr(report, "trial", None) == order.trial  # or the last words of one that was dropped
                begun = begun or ours
                if report is None:
                    if stop() and not stopped:
                        worker.send(Stop(order.trial))
                        stopped = True
                    yield None
                elif ours and isinstance(report, Scored):
                    self._learn(seat, report.memory)
                    network = cast("nn.Module", RemoteNetwork(worker, order.trial))  # the search wants its state alone
                    yield replace(report.score, network=network)
                    worker.send(GoOn(order.trial))
                elif ours and isinstance(report, Ended):
                    if report.broken:
                        self._replace(seat)
                    if report.error is not None:
                        raise report.error
                    return
        except WorkerLost as lost:
            if not begun:  # of a device that lets nobody begin
                self._not_started(seat, str(lost))
            self._replace(seat)
            raise TrainingFailed(str(lost)) if begun else _NotBegun from None
        finally:
            if seat.worker is worker:
                worker.send(Drop(order.trial))

    # Seats

    def _free_seat(self) -> Seat | None:
        """A seat whose worker waits for a trial; one that died in its sleep is replaced, and costs none."""
        self._hear_starting()
        for seat in self.seats:
            if seat.ready and not seat.busy and seat.worker is not None:
                if seat.worker.lives:
                    return seat
                self._replace(seat)
        if all(seat.given_up for seat in self._open_seats()):
            raise Unavailable
        return None

    def _open_seats(self) -> Iterator[Seat]:
        """Those whose workers fit on their devices."""
        taken = Counter[str]()
        for seat in self.seats:
            taken[seat.device] += 1
            if taken[seat.device] <= self._fitting[seat.device]:
                yield seat

    def _fill(self) -> None:
        for seat in self._open_seats():
            if seat.worker is None:
                self._start(seat)

    def _start(self, seat: Seat) -> None:
        if seat.given_up:
            return
        job = replace(self._job, device=seat.device, threads=seat.share.threads)
        inherited = () if job.dataset is None else (job.dataset.descriptor,)
        try:
            seat.worker = WorkerProcess(pickle.dumps(job), seat.share, inherited, self._patience, self._clock)
        except OSError as error:  # the machine has no room for another process
            self._not_started(seat, str(error))

    def _replace(self, seat: Seat) -> None:
        if seat.worker is not None:
            seat.worker.kill()
        seat.worker, seat.ready, seat.proven = None, False, False
        self._start(seat)

    def _not_started(self, seat: Seat, reason: str) -> None:
        self._reason = reason
        seat.failed_starts += 1
        if seat.failed_starts == STARTS:
            self._note(f"a worker on {seat.device} could not start ({reason}); the others go on without it")

    def _hear_starting(self) -> None:
        for seat in self.seats:
            if seat.worker is None or seat.ready:
                continue
            try:
                report = seat.worker.read()
            except WorkerLost as lost:
                report = NotReady(str(lost))
            if isinstance(report, Ready):
                seat.ready, seat.memory = True, report.memory
            elif isinstance(report, NotReady):
                self._not_started(seat, report.reason)
                self._replace(seat)

    # Memory of devices

    def _require_room(self, first: Seat) -> None:
        """Refuse, before anything is recorded, to start more workers on a device than it holds by estimate."""
        if first.memory is None:
            return
        fit = fit_on_device(first.memory)
        if self._fitting[first.device] > fit:
            devices = len(self._fitting)
            raise NasError(
                f"{len(self.seats)} workers do not fit: {fit * devices} fit, by estimate, into the "
                f"{memory_text(first.memory.free)} that are free on {first.device}"
                f"{' and as much on each other device' if devices > 1 else ''}; ask for at most so many, or for "
                f"--workers auto"
            )

    def _learn(self, seat: Seat, memory: DeviceMemory | None) -> None:
        """Start more workers on a device when the memory that trials took there leaves room for them."""
        seat.proven, seat.failed_starts = True, 0
        if memory is None:
            return
        here = [other for other in self.seats if other.device == seat.device]
        running = [other for other in here if other.worker is not None]
        peak = self._peaks[seat.device] = max(self._peaks[seat.device], memory.peak)
        unproven = sum(not other.proven for other in running)
        fitting = min(len(here), len(running) + fit_more(memory.free, peak, unproven))
        if fitting > self._fitting[seat.device]:
            self._fitting[seat.device] = fitting
            self._note(f"{fitting} workers fit on {seat.device}, by the {memory_text(peak)} that trials took so far")


def _advice(reason: str) -> str:
    return "; free its memory, or choose another --device" if "out of memory" in reason else ""
