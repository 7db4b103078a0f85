"""To drive a pool as a search does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nas.training.score import EpochScore
from nas.workers.pool import WorkerPool
from searchspace import Architecture, Stage
from searchspace.blocks import Conv


def network(width: int = 8) -> Architecture:
    return Architecture(channels=1, resolution=8, classes=10, stages=(Stage(block=Conv(width=width)),))


def never() -> bool:
    return False


def trial(pool: WorkerPool, seed: int, width: int = 8, stop=never) -> Iterator[EpochScore | None]:
    return pool.evaluate(network(width), seed=seed, stop=stop)


def until(found: Iterator[EpochScore | None], pool: WorkerPool) -> EpochScore:
    """The next score, however long it takes."""
    for score in found:
        if score is not None:
            return score
        pool.wait()
    raise AssertionError("it ended")


def all_of(found: Iterator[EpochScore | None], pool: WorkerPool) -> list[EpochScore]:
    scores = []
    for score in found:
        if score is None:
            pool.wait()
        else:
            scores.append(score)
    return scores


def all_ready(pool: WorkerPool) -> None:
    """Wait until every seat has a worker that is ready."""
    end = time.monotonic() + 120
    while pool.count < len(pool.seats):
        assert time.monotonic() < end, "they do not start"
        pool.wait()


def pid_of(score: EpochScore) -> int:
    """The first score of `acts.Act` says who trains."""
    return round(score.val_accuracy * 2**32)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"


@contextmanager
def gone_within(seconds: float, pids: list[int]) -> Iterator[None]:
    """After the block, none of them lives for so long."""
    yield
    end = time.monotonic() + seconds
    while any(map(lives, pids)):
        assert time.monotonic() < end, f"{pids} are still there"
        time.sleep(0.02)
