"""Trainings of a few lines that workers import; what they do is chosen by the seed, or by who calls."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.training.score import Diverged, EpochScore, Stopped
from nas.training.trial import OutOfMemory
from searchspace import Architecture
from searchspace.blocks import BLOCKS

Stop = Callable[[], bool]

SCORES, UNTIL_STOPPED, HANG, EXIT, KILL = 1, 2, 3, 4, 5
DIVERGE, OUT_OF_MEMORY, UNFORESEEN, CUDA_ERROR, CUDNN_ERROR = 6, 7, 8, 9, 10
MEET, WEIGHTS, LOOK, PID, SLOW = 11, 12, 13, 14, 15


def score(epoch: int, accuracy: float = 0.5, **changes: Any) -> EpochScore:
    return EpochScore(epoch, 1.0 / epoch, accuracy, 0.01, 100.0, 128, **changes)


@dataclass(frozen=True)
class Act:
    """Does what the seed says; its trials meet, and leave notes, in `folder`."""

    folder: Path

    def __call__(self, architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
        yield score(1, os.getpid() / 2**32)
        if seed in (SCORES, WEIGHTS):
            network = torch.nn.Linear(2, 2) if seed == WEIGHTS else None
            yield score(2, 0.25, network=network)
            yield score(3, 0.75, network=network)
        elif seed == SLOW:
            time.sleep(0.5)
            yield score(2)
        elif seed == UNTIL_STOPPED:
            while not stop():
                time.sleep(0.01)
            raise Stopped
        elif seed == HANG:
            time.sleep(3600)
        elif seed == EXIT:
            sys.exit(3)
        elif seed == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif seed == MEET:
            yield from self._meet(architecture)
        elif seed == LOOK:
            (self.folder / "look.json").write_text(json.dumps(look()))
        else:
            raise {
                DIVERGE: Diverged("the loss was nan in epoch 1"),
                OUT_OF_MEMORY: OutOfMemory("out of memory with 2 images a batch"),
                UNFORESEEN: ValueError("a first line\na second one"),
                CUDA_ERROR: torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nmore"),
                CUDNN_ERROR: RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
            }[seed]

    def _meet(self, architecture: Architecture) -> Iterator[EpochScore]:
        """Ends when two trials are in it at once."""
        (self.folder / f"{architecture.digest}.here").touch()
        until = time.monotonic() + 60
        while len(list(self.folder.glob("*.here"))) < 2:
            assert time.monotonic() < until, "nobody came"
            time.sleep(0.01)
        yield score(2, os.getpid() / 2**32)


def look() -> dict[str, Any]:
    """What a training finds around it."""
    library = ctypes.CDLL(None)
    mapped = mapped_blocks(library)
    library.malloc.restype = ctypes.c_void_p
    block = library.malloc(ctypes.c_size_t(100 * 2**20))
    own = mapped_blocks(library) - mapped
    library.free(ctypes.c_void_p(block))
    return {
        "threads": torch.get_num_threads(),
        "omp": os.environ["OMP_NUM_THREADS"],
        "cpus": sorted(os.sched_getaffinity(0)),
        "mapped": own,
        "families": sorted(BLOCKS),
        "signals": [signal.getsignal(number) == signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)],
        "group": os.getpgid(0) == os.getpid(),
        "test": None,
    }


_USED = ("arena", "ordblks", "smblks", "hblks")


def mapped_blocks(library: ctypes.CDLL) -> int:
    """How many blocks malloc has mapped by themselves (mallinfo2's hblks)."""

    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in (*_USED, *"abcdef")]

    library.mallinfo2.restype = Info
    return library.mallinfo2().hblks


class NoRoom:
    """Cannot be made in a worker: what a device says that another process fills."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has 1 MiB free.\nmore")

    def __getstate__(self) -> dict[str, Any]:
        return {"some": "state"}

    def __call__(self, architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
        yield score(1)


def accuracy_of(architecture: Architecture) -> float:
    return 0.1 + 0.8 * int(architecture.digest[:8], 16) / 2**32


def plain(architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
    """Three epochs of an accuracy that the architecture has everywhere."""
    for epoch in range(1, 4):
        yield score(epoch, accuracy_of(architecture))


def poison(architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
    """As `plain`, but networks of width 16 kill who trains them."""
    for found in plain(architecture, seed=seed, stop=stop):
        if architecture.stages[0].block.width == 16:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGSEGV)
        yield found


def failing(architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
    raise ValueError("never")
    yield


def steady(architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
    """As `plain`, a little slower, so that somebody can come between."""
    for found in plain(architecture, seed=seed, stop=stop):
        time.sleep(0.05)
        yield found


def lasting(architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
    """One epoch, and a second one until it is told to stop."""
    yield score(1)
    yield from endless(architecture, seed=seed, stop=stop)


def endless(architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
    """Says on standard error which process it is, and trains until it is told to stop."""
    print(f"worker {os.getpid()} trains", file=sys.stderr, flush=True)
    while not stop():
        time.sleep(0.01)
    raise Stopped
    yield


def deaf(architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
    """As `endless`, but never asks whether to stop."""
    print(f"worker {os.getpid()} trains", file=sys.stderr, flush=True)
    time.sleep(3600)
    yield score(1)


def stuck(architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
    """As `deaf`, and no other thread of the process hears anything either: the interpreter's lock is held."""
    print(f"worker {os.getpid()} trains", file=sys.stderr, flush=True)
    ctypes.PyDLL(None).sleep(3600)
    yield score(1)


@dataclass
class BreaksIn:
    """In the process of this number the second training meets an error that breaks the device, as do all after it."""

    pid: int
    trained: int = 0

    def __call__(self, architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
        self.trained += 1
        if os.getpid() == self.pid and self.trained > 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        yield from plain(architecture, seed=seed, stop=stop)


@dataclass(frozen=True)
class OnlyOnce:
    """Two workers can start, and die of their first trial; later ones find the device full."""

    folder: Path

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if len(list(self.folder.glob("*.worker"))) >= 2:
            raise RuntimeError("the device is full")
        (self.folder / f"{os.getpid()}.worker").touch()

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __call__(self, architecture: Architecture, *, seed: int, stop: Stop) -> Iterator[EpochScore]:
        yield score(1)
        while len(list(self.folder.glob("*.worker"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
