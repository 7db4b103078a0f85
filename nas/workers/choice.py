"""From `--workers` to what trains: the search's own process, or a pool of others."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from nas.errors import NasError, RunError
from nas.evaluate import Evaluate, OneLane
from nas.training.broken_device import is_broken
from nas.training.data import Dataset
from nas.training.device import describe_device
from nas.training.recipe import Recipe
from nas.training.score import EpochScore
from nas.training.trial import train_architecture
from nas.workers.capacity import MOST_A_DEVICE, mps_runs, require_host, workers_for_cpu
from nas.workers.control_group import available_memory
from nas.workers.cores import Cores, usable_cores
from nas.workers.messages import Job
from nas.workers.pool import Seat, WorkerPool
from nas.workers.shared_data import SharedDataset
from searchspace import Architecture
from searchspace.blocks import BLOCKS, Block

AUTO = "auto"


def parse_workers(given: int | str) -> int | str:
    """A number of workers, or `auto`; checked against the machine before anything is read.

    Raises:
        NasError: it is neither, or more than fit.
    """
    workers = int(given) if isinstance(given, str) and given.isascii() and given.isdigit() else given
    if workers == AUTO:
        return AUTO
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise NasError(f"workers are the trials to train at once, a number of at least 1, or auto; given {given!r}")
    if workers > 1:
        if os.name != "posix":
            raise NasError("workers need Linux or macOS: leave out --workers")
        require_host(workers, usable_cores(), available_memory())
    return workers


class OwnProcess(OneLane):
    """The search's own process, which trains one trial after the other.

    After an error that leaves a CUDA device of no use to it, a worker process trains what comes next: that has the
    device anew, where in this process every later trial would fail.
    """

    def __init__(
        self, train: Evaluate, device: str, worker: Callable[[], WorkerPool], note: Callable[[str], None]
    ) -> None:
        """`worker` opens the pool of one worker that goes on."""
        self.device = device
        self._train = train
        self._open = worker
        self._note = note
        self._broken = False
        self._worker: WorkerPool | None = None

    def evaluate(
        self, architecture: Architecture, *, seed: int, stop: Callable[[], bool]
    ) -> Iterator[EpochScore | None]:
        """See `nas.evaluate.Evaluate`.

        Raises:
            RunError: the device is broken, and no worker can be started.
        """
        if self._broken and self._worker is None:
            self._note(f"{self.device} is of no more use to this process: a worker process goes on")
            try:
                self._worker = self._open()
            except NasError as error:
                raise RunError(f"{self.device} is broken for this process, and no worker goes on: {error}") from None
        try:
            yield from (self._worker.evaluate if self._worker else self._train)(architecture, seed=seed, stop=stop)
        except Exception as error:
            self._broken = self._broken or is_broken(error)
            raise

    def wait(self) -> None:
        if self._worker is not None:
            self._worker.wait()

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()


def open_lanes(
    workers: int | str,
    evaluate: Evaluate | None,
    recipe: Recipe,
    dataset: Dataset,
    devices: list[str],
    note: Callable[[str], None],
) -> OwnProcess | WorkerPool:
    """What trains: for one worker this process, on the first of the devices, else a pool with its first worker ready.

    `evaluate` is what to call in place of the training.

    Raises:
        NasError: the workers do not fit, or cannot be told what to do.
    """
    if workers == AUTO and devices == ["cpu"]:
        workers = workers_for_cpu(usable_cores(), available_memory())

    def pool(number: int | str) -> WorkerPool:
        if evaluate is None:
            return open_pool(number, partial(train_architecture, recipe=recipe), dataset, devices, note)
        return open_pool(number, evaluate, None, devices, note)

    if workers != 1:
        return pool(workers)
    place = torch.device(devices[0])
    if evaluate is None:
        train: Evaluate = partial(train_architecture, dataset=dataset.to(place), recipe=recipe)
    else:
        train = evaluate
    return OwnProcess(train, describe_device(place), partial(pool, 1), note)


def open_pool(
    workers: int | str,
    evaluate: Callable[..., Any],
    dataset: Dataset | None,
    devices: list[str],
    note: Callable[[str], None] = lambda text: None,
    **watching: Any,
) -> WorkerPool:
    """A pool with its first worker ready. `evaluate` is pickled, and called with `dataset` if one is given; `watching`
    is the pool's patience and clock.

    Raises:
        NasError: as above.
    """
    cores = usable_cores()
    grow = workers == AUTO
    number = min(cores.most_workers, MOST_A_DEVICE * len(devices)) if isinstance(workers, str) else workers
    shares = cores.shares(number)
    seats = [Seat(devices[place % len(devices)], share) for place, share in enumerate(shares)]
    families = registered_families()
    require_picklable(evaluate)
    note(describe(number, cores, devices, grow))
    try:
        shared = None if dataset is None else SharedDataset.of(dataset)
    except OSError as error:
        raise NasError(f"the data set does not fit into memory that workers share: {error}") from None
    job = Job(evaluate, shared, families, devices[0], 1)
    pool = WorkerPool(job, seats, grow=grow, note=note, **watching)
    try:
        pool.start()
    except BaseException:
        pool.close()
        raise
    return pool


def pick_devices(name: str, chosen: torch.device) -> list[str]:
    """Where workers train: on every CUDA device where none was chosen by its number, else on the one chosen."""
    if chosen.type == "cuda" and name in ("auto", "cuda"):
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [str(chosen)]


def describe(number: int, cores: Cores, devices: list[str], grow: bool) -> str:
    """What a person who waits is told about the workers."""
    if devices == ["cpu"]:
        threads = cores.shares(number)[0].threads
        return f"{number} worker{'s' * (number > 1)}, {threads} thread{'s' * (threads > 1)} each"
    if number == 1:
        return f"1 worker on {devices[0]}"
    sharing = (
        "at the same time, for NVIDIA's multi-process service (MPS) runs"
        if mps_runs()
        else "in turns, for NVIDIA's multi-process service (MPS) does not run: nvidia-cuda-mps-control -d starts it"
    )
    many = f"as many workers as fit, at most {number}," if grow else f"{number} worker{'s' * (number > 1)}"
    return f"{many} on {', '.join(devices)}; those of a device compute {sharing}"


def registered_families() -> tuple[type[Block], ...]:
    """The blocks that are not the project's own, which workers import by their module's name.

    Raises:
        NasError: a worker cannot import one.
    """
    families = tuple(family for family in BLOCKS.values() if not family.__module__.startswith("searchspace."))
    for family in families:
        require_importable(f"block {family.__name__}", family)
    return families


def require_importable(what: str, thing: Any) -> None:
    if thing.__module__ == "__main__" or "<locals>" in thing.__qualname__:
        raise NasError(
            f"{what} is defined in {thing.__module__}.{thing.__qualname__}, where worker processes cannot import it: "
            f"put it into a module, or leave out --workers"
        )


def require_picklable(evaluate: Callable[..., Any]) -> None:
    """Make sure that what trains can be sent to a worker.

    Raises:
        NasError: it cannot.
    """
    if getattr(evaluate, "__module__", None) == "__main__":
        require_importable("evaluate", evaluate if hasattr(evaluate, "__qualname__") else type(evaluate))
    try:
        pickle.dumps(evaluate)
    except Exception as error:
        raise NasError(
            f"evaluate cannot be sent to worker processes ({error}): give a function of a module, or leave out workers"
        ) from None
