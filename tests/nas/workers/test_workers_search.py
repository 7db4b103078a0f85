"""A search with workers: what a search promises holds, whatever happens to them."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import acts
import pytest
from pools import gone_within, lives
from small_search import TWINS, Child, Heard, assert_settled, small_search

from nas.errors import NasError, RunError
from nas.stop import StopSignal
from nas.workers.cores import Cores
from nas.workers.pool import WorkerPool
from searchspace.spaces import TINY
from studies import COMPLETE, FAIL, StudyStore

RESUME = "interrupted; nothing is lost, resume with: nas search"


@pytest.fixture(autouse=True)
def _many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that train nothing need no CPU each."""
    monkeypatch.setattr("nas.workers.choice.usable_cores", lambda: Cores(((0,),) * 4, can_bind=False))


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The processes of every worker that is started, in their order."""
    found: list[int] = []
    start = WorkerPool._start

    def noted(self: WorkerPool, seat: Any) -> None:
        start(self, seat)
        if seat.worker is not None:
            found.append(seat.worker.pid)

    monkeypatch.setattr(WorkerPool, "_start", noted)
    with gone_within(5, found):
        yield found


def test_a_network_that_kills_its_worker_is_one_failed_trial(storage: str, pids: list[int]) -> None:
    """And the process that comes in its place trains on; at the end all are gone."""
    result = small_search(storage, TWINS, budget=4, evaluate=acts.poison, workers=2, pruner="none")
    assert result.ended == "the budget of 4 trials is spent"
    assert_settled(storage, 4)
    found = result.dataframe()
    assert sorted(found["status"]) == [COMPLETE, COMPLETE, COMPLETE, FAIL]
    [reason] = found[found["status"] == FAIL]["reason"]
    assert reason == "the worker died with signal 11 (SIGSEGV)"
    assert len(pids) == 3
    whole = small_search(storage, TWINS, budget=4, study="alone", evaluate=acts.plain, pruner="none").dataframe()
    seeds = {row["digest"]: row["seed"] for row in whole.to_dict("records")}
    assert {row["seed"] for row in found.to_dict("records")} == set(seeds.values()), "a slot's seed is the same"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_workers_killed_at_random_leave_the_budget_exact(
    storage: str, pids: list[int], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    moments, over, killed, trained = random.Random(seed), threading.Event(), [], []
    learn = WorkerPool._learn
    monkeypatch.setattr(WorkerPool, "_learn", lambda *args: trained.append(args[1].worker.pid) or learn(*args))

    def kill_now_and_then() -> None:
        while not over.wait(moments.uniform(0.05, 0.5)):
            living = [pid for pid in trained if lives(pid)]
            if living:
                killed.append(moments.choice(living))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill_now_and_then)
    thread.start()
    try:
        result = small_search(storage, budget=15, evaluate=acts.steady, workers=3)
    finally:
        over.set()
        thread.join()
    assert killed
    assert result.ended == "the budget of 15 trials is spent"
    assert_settled(storage, 15)
    reasons = set(result.dataframe().query("status == 'FAIL'")["reason"])
    assert reasons <= {"the worker died with signal 9 (SIGKILL), as when the machine's memory is spent"}


@pytest.mark.slow
def test_ten_failures_in_a_row_end_a_search_with_workers_too(storage: str, pids: list[int]) -> None:
    with pytest.raises(RunError, match="10 trials in a row failed, the last one with: ValueError: never"):
        small_search(storage, budget=50, evaluate=acts.failing, workers=2)
    assert_settled(storage, 10)


@pytest.mark.slow
def test_a_device_that_breaks_for_the_search_s_own_process_ends_no_search(storage: str, pids: list[int]) -> None:
    """The trial that met the error fails; a worker process trains the others."""
    heard = Heard()
    result = small_search(storage, TWINS, budget=4, evaluate=acts.BreaksIn(os.getpid()), progress=heard, pruner="none")
    assert_settled(storage, 4)
    found = result.dataframe()
    assert sorted(found["status"]) == [COMPLETE, COMPLETE, COMPLETE, FAIL]
    assert found["status"].iloc[1] == FAIL
    assert "CUDA error: an illegal memory access" in found["reason"].iloc[1]
    assert len(pids) == 1
    assert [note for note in heard.notes if "a worker process goes on" in note]


@pytest.mark.slow
def test_where_no_worker_can_go_on_that_ends_it_plainly_and_at_once(storage: str) -> None:
    breaks = acts.BreaksIn(os.getpid())
    with pytest.raises(RunError, match="no worker goes on: evaluate cannot be sent to worker processes"):
        small_search(storage, budget=9, evaluate=lambda *given, **named: breaks(*given, **named), pruner="none")
    assert_settled(storage, 2)


@pytest.mark.slow
def test_workers_that_can_start_no_more_end_the_search_plainly(storage: str, tmp_path: Path) -> None:
    heard = Heard()
    with pytest.raises(RunError, match="no worker could be started any more: RuntimeError: the device is full"):
        small_search(storage, budget=50, evaluate=acts.OnlyOnce(tmp_path), workers=2, progress=heard)
    assert len(heard.notes) == 3, heard.notes  # that there are two, and that each could not start
    assert_settled(storage, 2)


def trains(child: Child, count: int) -> list[int]:
    """Wait until so many workers of the search train; their processes."""
    until = time.monotonic() + 120
    while len(found := re.findall(r"worker (\d+) trains", child.text if child.output.exists() else "")) < count:
        assert time.monotonic() < until, child.text
        time.sleep(0.02)
    return [int(pid) for pid in found]


def test_no_worker_outlives_a_search_that_is_killed(storage: str, tmp_path: Path) -> None:
    """Not even one that can hear nothing."""
    work = lambda: small_search(storage, budget=9, evaluate=acts.stuck, workers=2)  # noqa: E731
    child = Child(work, tmp_path / "out.txt")
    with gone_within(5, trains(child, 2)):
        child.send(signal.SIGKILL)
        assert child.end() == -signal.SIGKILL
    small_search(storage, budget=9)
    assert_settled(storage, 9)


def search_command(storage: str, evaluate: Any) -> None:
    """The command, as it is typed but for what trains."""
    import sys
    from functools import partial

    from nas import searching
    from nas.cli import main

    searching.search = partial(searching.search, evaluate=evaluate)  # type: ignore[assignment]
    sys.argv = ["nas", "search", "--dataset", "digits", "--space", "tiny", "--workers", "2", "--storage", storage]
    main(sys.argv[1:])


def test_one_signal_ends_the_trials_after_their_step(storage: str, tmp_path: Path) -> None:
    child = Child(lambda: search_command(storage, acts.endless), tmp_path / "out.txt")
    with gone_within(5, trains(child, 2)):
        child.send(signal.SIGINT)
        assert child.end() == 128 + signal.SIGINT
    assert RESUME in child.text
    assert "Traceback" not in child.text
    assert child.text.count("interrupted (interrupted); 0/50 trials") == 2
    assert_settled(storage, 0, "digits-tiny")


@pytest.mark.slow
def test_a_second_signal_kills_workers_that_do_not_listen(storage: str, tmp_path: Path) -> None:
    child = Child(lambda: search_command(storage, acts.deaf), tmp_path / "out.txt")
    with gone_within(5, trains(child, 2)):
        child.send(signal.SIGTERM)
        time.sleep(0.5)
        assert os.waitpid(child.pid, os.WNOHANG) == (0, 0), "the first signal waits for the step"
        child.send(signal.SIGINT)
        assert child.end() == 128 + signal.SIGTERM
    assert RESUME in child.text
    assert "Traceback" not in child.text
    assert_settled(storage, 0, "digits-tiny")


@pytest.mark.slow
def test_at_the_deadline_all_running_trials_are_pruned(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Both(Heard):
        def epoch(self, number: int, *facts: Any) -> None:
            seen.add(number)
            monkeypatch.setattr(StopSignal, "late", len(seen) == 2)

    seen: set[int] = set()
    monkeypatch.setattr(StopSignal, "late", False)
    result = small_search(storage, budget=50, evaluate=acts.lasting, workers=2, progress=Both())
    assert result.ended == "the time is up"
    assert list(result.dataframe()["reason"]) == ["the time is up"] * 2
    assert_settled(storage, 2)


@pytest.mark.slow
def test_a_deadline_before_any_epoch_takes_no_slot(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Both(Heard):
        def trial(self, number: int, *facts: Any) -> None:
            monkeypatch.setattr(StopSignal, "late", number == 1)

    monkeypatch.setattr(StopSignal, "late", False)
    small_search(storage, budget=50, evaluate=acts.endless, workers=2, progress=Both())
    assert_settled(storage, 0)


@pytest.mark.slow
def test_a_trial_has_the_same_result_in_a_worker_as_in_this_process(storage: str, tmp_path: Path) -> None:
    """To the last bit, with as many threads; the weights too."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        settings: dict[str, Any] = {"budget": 3, "epochs": 2, "pruner": "none", "sampler": "random", "evaluate": None}
        alone = small_search(storage, TINY, study="alone", **settings)
        beside = small_search(storage, TINY, study="beside", workers=3, **settings)
    finally:
        torch.set_num_threads(threads)
    columns = ["digest", "seed", "val_accuracy", "status"]
    found = [result.dataframe().sort_values("seed")[columns].to_dict("records") for result in (alone, beside)]
    assert found[0] == found[1]
    folder = Path(storage.removeprefix("sqlite:///")).parent
    written = {
        result.study.name: {
            row["digest"]: next(folder.rglob(f"{row['evaluation_id']}.safetensors")).read_bytes()
            for row in result.dataframe().to_dict("records")
        }
        for result in (alone, beside)
    }
    assert len(written["alone"]) == 3
    assert written["alone"] == written["beside"]


# Bad input


@pytest.mark.parametrize(
    ("workers", "message"),
    [
        (0, "workers are the trials to train at once, a number of at least 1, or auto; given 0"),
        ("many", "workers are the trials to train at once, a number of at least 1, or auto; given 'many'"),
        ("-1", "given '-1'"),
        (2.0, "given 2.0"),
        (True, "given True"),
        (5, "5 workers do not fit: 4 fit, one for each CPU that this process may use; ask for at most so many"),
    ],
)
def test_workers_that_cannot_be_are_refused_before_anything_is_recorded(
    storage: str, workers: Any, message: str
) -> None:
    with pytest.raises(NasError) as refused:
        small_search(storage, evaluate=acts.plain, workers=workers)
    assert message in str(refused.value)
    assert not Path(storage.removeprefix("sqlite:///")).exists()


def test_more_workers_than_the_memory_holds_are_refused(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.workers.choice.available_memory", lambda: 2 * 2**30 + 5)
    with pytest.raises(NasError, match=r"3 workers do not fit into the 2\.0 GiB of memory that are free: 2 fit"):
        small_search(storage, evaluate=acts.plain, workers=3)


def test_a_training_that_workers_cannot_import_is_refused(storage: str) -> None:
    def local(*_: Any, **__: Any) -> Iterator[Any]:
        yield acts.score(1)

    for evaluate in (local, lambda *_, **__: iter(())):
        with pytest.raises(
            NasError, match=r"evaluate cannot be sent to worker processes .*: give a function of a module"
        ):
            small_search(storage, evaluate=evaluate, workers=2)
    with StudyStore(storage) as store:
        assert store.studies().empty


def test_blocks_of_a_script_are_refused_with_what_to_do(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from searchspace.blocks import BLOCKS, Conv

    mine = type("Mine", (Conv,), {"__module__": "__main__", "__annotations__": {}})
    monkeypatch.setitem(BLOCKS, "mine", mine)
    with pytest.raises(NasError, match=r"block Mine is defined in __main__\.Mine, .*: put it into a module"):
        small_search(storage, evaluate=acts.plain, workers=2)


def test_one_worker_is_this_process(storage: str) -> None:
    def local(*_: Any, **__: Any) -> Iterator[Any]:
        yield from (acts.score(epoch) for epoch in range(1, 4))

    small_search(storage, budget=2, evaluate=local, workers=1)
    assert_settled(storage, 2)
