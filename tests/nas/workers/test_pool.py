"""What a search is promised of a training that happens in another process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import acts
import pytest
from pools import all_of, all_ready, gone_within, lives, network, never, pid_of, trial, until

from nas.errors import NasError
from nas.evaluate import TrainingFailed, Unavailable, guarded
from nas.training.score import Diverged, Stopped
from nas.training.trial import OutOfMemory
from nas.weights import keep_weights
from nas.workers.choice import open_pool
from nas.workers.cores import Cores
from nas.workers.messages import Alive, Order, Train
from nas.workers.pool import WorkerPool
from nas.workers.process import Patience, WorkerProcess
from searchspace import blocks


class Clock:
    """Goes on by a second at every look while it hurries, else not at all."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hurries = False

    def __call__(self) -> float:
        self.now += self.hurries
        return self.now


clock = Clock()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("acts")


@pytest.fixture(scope="module")
def pool(folder: Path) -> Iterator[WorkerPool]:
    """Two workers, on one CPU each where there are two."""
    import extra_block  # noqa: F401

    mark = pytest.MonkeyPatch()
    if len(os.sched_getaffinity(0)) < 2:
        mark.setattr("nas.workers.choice.usable_cores", lambda: Cores(((0,), (0,))))
    with open_pool(2, acts.Act(folder), None, ["cpu"], patience=Patience(600, 20), clock=clock) as opened:
        yield opened
        pids = [seat.worker.pid for seat in opened.seats if seat.worker]
    mark.undo()
    del blocks.BLOCKS["odd_conv"]
    for rebuild in blocks._when_registered:
        rebuild()
    with gone_within(5, pids):
        pass


@pytest.fixture(autouse=True)
def _both_ready(pool: WorkerPool) -> None:
    all_ready(pool)


def test_the_scores_are_those_of_the_same_call_in_this_process(pool: WorkerPool, folder: Path) -> None:
    here = list(acts.Act(folder)(network(), seed=acts.SCORES, stop=never))
    there = all_of(trial(pool, acts.SCORES), pool)
    assert [replace(score, network=None) for score in there[1:]] == here[1:]
    assert pid_of(here[0]) == os.getpid() != pid_of(there[0])


@pytest.mark.parametrize(
    ("seed", "kind", "text"),
    [
        (acts.DIVERGE, Diverged, "the loss was nan in epoch 1"),
        (acts.OUT_OF_MEMORY, OutOfMemory, "out of memory with 2 images a batch"),
        (acts.UNFORESEEN, TrainingFailed, "ValueError: a first line"),
    ],
)
def test_what_a_training_raises_arrives_and_its_worker_trains_on(
    pool: WorkerPool, seed: int, kind: type[Exception], text: str
) -> None:
    found = trial(pool, seed)
    pid = pid_of(until(found, pool))
    with pytest.raises(kind) as raised:
        all_of(guarded(lambda: found), pool)
    assert str(raised.value) == text
    assert pid_of(until(trial(pool, acts.PID + 100), pool)) == pid


def test_a_trial_that_is_dropped_between_epochs_leaves_its_worker_ready_for_the_next(pool: WorkerPool) -> None:
    for _ in range(3):
        found = trial(pool, acts.SCORES)
        first = until(found, pool)
        found.close()  # type: ignore[attr-defined]
        assert [pid_of(first)] == [pid_of(all_of(trial(pool, acts.SCORES), pool)[0])]


def test_a_trial_that_is_dropped_within_an_epoch_does_so_too(pool: WorkerPool) -> None:
    found = trial(pool, acts.UNTIL_STOPPED)
    pid = pid_of(until(found, pool))
    assert next(found) is None
    found.close()  # type: ignore[attr-defined]
    assert [score.epoch for score in all_of(trial(pool, acts.SCORES), pool)] == [1, 2, 3]
    assert pid_of(all_of(trial(pool, acts.SCORES), pool)[0]) == pid


def test_a_stop_is_heard_within_an_epoch(pool: WorkerPool) -> None:
    found = trial(pool, acts.UNTIL_STOPPED, stop=lambda: bool(asked))
    asked: list[int] = []
    until(found, pool)
    assert next(found) is None
    asked.append(1)
    with pytest.raises(Stopped):
        all_of(found, pool)


def test_two_trials_are_trained_at_once(pool: WorkerPool) -> None:
    """Each waits in its epoch until the other is there."""
    both = [trial(pool, acts.MEET, width) for width in (8, 16)]
    pids = {pid_of(until(found, pool)) for found in both}
    assert len(pids) == 2
    last: dict[int, Any] = {}
    while len(last) < 2:
        for number, found in enumerate(both):
            if number not in last and (score := next(found)) is not None:
                last[number] = score
        pool.wait()
    assert {pid_of(score) for score in last.values()} == pids


# Lost workers


@pytest.mark.parametrize(
    ("seed", "reason"),
    [
        (acts.KILL, "the worker died with signal 9 (SIGKILL), as when the machine's memory is spent"),
        (acts.CUDA_ERROR, "AcceleratorError: CUDA error: an illegal memory access was encountered"),
        pytest.param(acts.EXIT, "the worker ended with exit code 3", marks=pytest.mark.slow),
        pytest.param(
            acts.CUDNN_ERROR, "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", marks=pytest.mark.slow
        ),
    ],
)
def test_a_worker_that_cannot_go_on_is_replaced_and_the_other_not_disturbed(
    pool: WorkerPool, seed: int, reason: str
) -> None:
    lost, other = trial(pool, seed), trial(pool, acts.SLOW)
    pid, neighbour = pid_of(until(lost, pool)), pid_of(until(other, pool))
    with pytest.raises(TrainingFailed) as raised:
        all_of(lost, pool)
    assert str(raised.value) == reason
    assert [score.epoch for score in all_of(other, pool)] == [2]
    assert not lives(pid)
    all_ready(pool)
    pids = [seat.worker.pid for seat in pool.seats if seat.worker]
    assert len(pids) == 2
    assert neighbour in pids
    assert pid not in pids


@pytest.mark.parametrize("seen", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_worker_that_dies_while_it_waits_costs_no_trial(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    """Whether that is seen before it is given one or not."""
    if not seen:
        monkeypatch.setattr(WorkerProcess, "lives", True)
    pids = [seat.worker.pid for seat in pool.seats if seat.worker]
    with gone_within(5, pids):
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert len(all_of(trial(pool, acts.SCORES), pool)) == 3


def test_a_worker_that_gives_no_sign_is_replaced(pool: WorkerPool) -> None:
    found = trial(pool, acts.HANG)
    pid = pid_of(until(found, pool))
    assert next(found) is None
    clock.hurries = True
    began = clock.now
    with pytest.raises(TrainingFailed, match="the worker gave no sign for 600 s"):
        all(score is None for score in found)
    clock.hurries = False
    assert clock.now - began > 600
    assert not lives(pid)


def test_a_training_gives_signs_of_life_at_its_steps(pool: WorkerPool) -> None:
    """So the patience is one for steps, however long the epochs are."""
    found = trial(pool, acts.UNTIL_STOPPED)
    pid = pid_of(until(found, pool))
    [worker] = [seat.worker for seat in pool.seats if seat.worker and seat.worker.pid == pid]
    assert next(found) is None
    for _ in range(2):
        assert worker.connection.poll(30)
        assert isinstance(worker.read(), Alive)
    found.close()  # type: ignore[attr-defined]


def test_a_pause_of_this_process_is_no_silence_of_the_worker(pool: WorkerPool) -> None:
    found = trial(pool, acts.UNTIL_STOPPED)
    pid = pid_of(until(found, pool))
    clock.now += 10_000  # as after a night in which the machine slept
    assert next(found) is None
    found.close()  # type: ignore[attr-defined]
    assert lives(pid)


# Weights


def test_the_weights_of_a_trial_are_sent_when_they_are_wanted_and_until_the_next(
    pool: WorkerPool, tmp_path: Path
) -> None:
    found = trial(pool, acts.WEIGHTS)
    scores = [until(found, pool) for _ in range(3)]
    found.close()  # type: ignore[attr-defined]
    stand_in = scores[-1].network
    assert stand_in is not None
    assert {name: tuple(tensor.shape) for name, tensor in stand_in.state_dict().items()} == {
        "weight": (2, 2),
        "bias": (2,),
    }
    keep_weights(tmp_path, "an-id", stand_in)
    assert (tmp_path / "an-id.safetensors").exists()
    all_of(trial(pool, acts.SCORES), pool)
    with pytest.raises(ConnectionError, match="did not send them"):
        stand_in.state_dict()


def test_weights_of_a_worker_that_is_gone_are_a_plain_error(pool: WorkerPool) -> None:
    found = trial(pool, acts.WEIGHTS)
    scores = [until(found, pool) for _ in range(2)]
    found.close()  # type: ignore[attr-defined]
    [pid] = {pid_of(scores[0])}
    os.kill(pid, signal.SIGKILL)
    network = scores[-1].network
    assert network is not None
    with pytest.raises(ConnectionError, match="is lost: the worker died with signal 9"):
        network.state_dict()


# What a worker finds around it


def test_a_worker_has_its_threads_its_cpus_its_memory_and_the_users_blocks(pool: WorkerPool, folder: Path) -> None:
    pid = pid_of(all_of(trial(pool, acts.LOOK), pool)[0])
    [share] = [seat.share for seat in pool.seats if seat.worker and seat.worker.pid == pid]
    seen = json.loads((folder / "look.json").read_text())
    assert seen["threads"] == share.threads
    assert seen["omp"] == str(seen["threads"])
    assert seen["cpus"] == sorted(share.cpus or ())
    assert seen["mapped"] == 0, "glibc maps nothing by itself: what is freed is kept"
    assert "odd_conv" in seen["families"]
    assert seen["signals"] == [True, True]
    assert seen["group"]


@pytest.mark.slow
def test_without_that_call_glibc_would_map_such_a_block() -> None:
    """The control; in a process of its own, for some other test may have called it here."""
    import subprocess
    import sys

    code = "import acts; print(acts.look()['mapped'])"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


# Starting


@pytest.mark.slow
def test_a_worker_ends_with_its_pipe_where_the_kernel_does_not_see_to_it(tmp_path: Path) -> None:
    """In the middle of a step that asks nothing."""
    with open_pool(2, acts.Act(tmp_path), None, ["cpu"]) as pool:
        found = trial(pool, acts.HANG)
        pid = pid_of(until(found, pool))
        [worker] = [seat.worker for seat in pool.seats if seat.worker and seat.worker.pid == pid]
        assert next(found) is None
        with gone_within(5, [pid]):
            worker.connection.close()


def test_a_worker_that_cannot_start_is_a_plain_error() -> None:
    with pytest.raises(NasError) as refused:
        open_pool(2, acts.NoRoom(), None, ["cpu"])
    assert str(refused.value) == (
        "no worker could start on cpu: OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has "
        "1 MiB free.; free its memory, or choose another --device"
    )


def test_an_order_of_a_trial_is_no_order_of_the_next(pool: WorkerPool) -> None:
    """A stop that came when the trial had ended already is not the next one's."""
    for _ in range(5):
        found = trial(pool, acts.UNTIL_STOPPED, stop=lambda: True)
        until(found, pool)
        with pytest.raises(Stopped):
            all_of(found, pool)
        assert len(all_of(trial(pool, acts.SCORES), pool)) == 3


@pytest.mark.slow
def test_where_no_worker_looks_at_a_trial_that_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that start, and die as soon as they are asked, are not replaced for ever."""
    real = WorkerProcess.send

    def deadly(process: WorkerProcess, order: Order) -> None:
        if isinstance(order, Train):
            os.kill(process.pid, signal.SIGKILL)
        real(process, order)

    monkeypatch.setattr(WorkerProcess, "send", deadly)
    opening = open_pool(2, acts.Act(folder), None, ["cpu"], patience=Patience(600, 20), clock=clock)
    with opening as opened, pytest.raises(Unavailable):
        all_of(trial(opened, acts.SCORES), opened)
