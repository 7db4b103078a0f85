"""What a search and its workers tell each other, pickled over a pipe. Trials are counted by the pool, from 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas.training.score import EpochScore
from nas.workers.shared_data import SharedDataset
from searchspace.blocks import Block

# To a worker


@dataclass(frozen=True)
class Job:
    """What a worker is for: the first thing it is told.

    `evaluate` is called as `nas.evaluate.Evaluate`, and with `dataset` where there is one. `families` are the blocks
    that somebody registered: to read this message is to import their modules.
    """

    evaluate: Callable[..., Any]
    dataset: SharedDataset | None
    families: tuple[type[Block], ...]
    device: str
    threads: int


@dataclass(frozen=True)
class Train:
    trial: int
    architecture: str
    seed: int


@dataclass(frozen=True)
class GoOn:
    """The next epoch, please: a worker waits for a word after each, as the search does for its scores."""

    trial: int


@dataclass(frozen=True)
class Stop:
    """End after the current step, and say Ended."""

    trial: int


@dataclass(frozen=True)
class Drop:
    """Nobody wants more of this trial, in whatever step it is."""

    trial: int


@dataclass(frozen=True)
class SendWeights:
    trial: int


# From a worker


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes of a CUDA device: free for all processes, its size, and the most that this process ever held at once."""

    free: int
    total: int
    peak: int


@dataclass(frozen=True)
class Ready:
    memory: DeviceMemory | None


@dataclass(frozen=True)
class NotReady:
    reason: str


@dataclass(frozen=True)
class Alive:
    """The trial begins, or has made a step."""

    trial: int


@dataclass(frozen=True)
class Scored:
    trial: int
    score: EpochScore
    memory: DeviceMemory | None


@dataclass(frozen=True)
class Ended:
    """The training ended, by `error` if it is not None; `broken`: the worker can train no more, and leaves."""

    trial: int
    error: Exception | None = None
    broken: bool = False


@dataclass(frozen=True)
class Weights:
    """The trial's state as a safetensors file; None if it is not there any more."""

    trial: int
    data: bytes | None


Order = Train | GoOn | Stop | Drop | SendWeights
Report = Ready | NotReady | Alive | Scored | Ended | Weights
