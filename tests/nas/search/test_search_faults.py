"""What a search promises when something kills it: no trial lost, none running for ever, the budget exact."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from small_search import (
    TWINS,
    Child,
    Fake,
    Heard,
    accuracy_of,
    assert_settled,
    optuna_trials,
    score,
    small_search,
    twin_study,
)
from sqlalchemy import inspect, text

import nas.search_run
from nas.candidates import DIGEST, ORIGIN
from nas.errors import NasError, RunError
from nas.ownership import Heartbeat, is_here, lives, this_process
from nas.stop import StopSignal
from nas.study import LINK, close_storage, optuna_storage
from nas.training.score import Stopped
from searchspace import Architecture
from studies import COMPLETE, INTERRUPTED, PRUNED, Slot, StudyStore, all_trials


class Killed(BaseException):
    """Stands for the end of the process: nothing is written after it."""


STORE_WRITES = (
    "open_study", "record_architecture", "start_evaluation", "record_epoch", "finish_evaluation", "ensure_slots",
    "claim_slot", "attach", "beat", "close_slot", "release_slot",
)  # fmt: skip
OPTUNA_WRITES = (
    "create_new_study", "set_study_user_attr", "set_study_system_attr", "create_new_trial", "set_trial_param",
    "set_trial_state_values", "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr",
)  # fmt: skip


class Killer:
    """Ends the process, as far as the database can tell, before or after the write numbered `at`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: int | None = None
        self.after = False
        self.writes: list[str] = []
        for owner, names in ((StudyStore, STORE_WRITES), (RDBStorage, OPTUNA_WRITES)):
            for name in names:
                monkeypatch.setattr(owner, name, self._counting(name, getattr(owner, name)))

    def arm(self, at: int | None, *, after: bool = False) -> None:
        self.at, self.after, self.writes = at, after, []

    def _counting(self, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.writes.append(name)
            place = len(self.writes)
            if self.at is not None and (place > self.at or (place == self.at and not self.after)):
                raise Killed
            result = write(*args, **kwargs)
            if place == self.at:
                raise Killed
            return result

        return counted


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    return Killer(monkeypatch)


LIMITED = {"budget": 3, "epochs": 2, "max_params": "1500", "seed": 3, "space": TWINS}
"""Of the four networks of TWINS three keep this limit, and its choices hold duplicates."""


def killed_once(storage: str, killer: Killer, at: int, after: bool) -> tuple[bool, list[Any]]:
    """Search, dying at a write; whether it died, and the results it acknowledged."""
    killer.arm(at, after=after)
    heard = Heard()
    try:
        small_search(storage, **LIMITED, evaluate=Fake(epochs=2), progress=heard)
    except Killed:
        return True, heard.ends
    finally:
        killer.arm(None)
    return False, heard.ends


def check_crash_point(storage: str, killer: Killer, at: int, after: bool) -> bool:
    died, acknowledged = killed_once(storage, killer, at, after)
    resumed = Fake(epochs=2)
    result = small_search(storage, **LIMITED, evaluate=resumed)
    assert result.ended == "the budget of 3 trials is spent"
    assert_settled(storage, 3)
    stored = {(row["trial"], row["status"], row["val_accuracy"]) for row in result.dataframe().to_dict("records")}
    assert set(acknowledged) <= stored
    assert len(resumed.trained) >= 3 - len(acknowledged) - 1
    return died


def crash_points(storage_of: Callable[[str], str], killer: Killer, step: int) -> int:
    for at in itertools.count(1, step):
        before, after = (check_crash_point(storage_of(f"{at}-{when}"), killer, at, when) for when in (False, True))
        if not before and not after:
            return at
    raise AssertionError


@pytest.fixture
def storage_of(fast_folder: Path) -> Callable[[str], str]:
    return lambda name: f"sqlite:///{fast_folder}/{name}.db"


def test_a_death_at_every_24th_write_loses_nothing(storage_of: Callable[[str], str], killer: Killer) -> None:
    assert crash_points(storage_of, killer, step=24) > 60


@pytest.mark.slow
def test_a_death_at_any_write_loses_nothing(storage_of: Callable[[str], str], killer: Killer) -> None:
    assert crash_points(storage_of, killer, step=1) > 60


def test_the_crash_test_sees_an_evaluation_that_starts_before_its_slot_names_it(
    storage_of: Callable[[str], str], killer: Killer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a planted bug, namely to attach the evaluation only after it began."""
    attach, start = StudyStore.attach, StudyStore.start_evaluation
    late: list[Any] = []
    monkeypatch.setattr(StudyStore, "attach", lambda self, *args: late.append(args) or True)

    def start_then_attach(self: StudyStore, **facts: Any) -> None:
        start(self, **facts)
        attach(self, *late.pop())

    monkeypatch.setattr(StudyStore, "start_evaluation", start_then_attach)
    killer.arm(None)
    small_search(storage_of("whole"), **LIMITED, evaluate=Fake(epochs=2))
    at = killer.writes.index("start_evaluation") + 1
    assert killer.writes[at] == "attach"
    with pytest.raises(AssertionError):
        check_crash_point(storage_of("planted"), killer, at, after=True)


def test_a_study_killed_again_and_again_ends_with_its_budget(storage: str, killer: Killer) -> None:
    """One study, killed a little later each time; what was acknowledged in any life is there at the end."""
    acknowledged: list[Any] = []
    for at in itertools.count(20, 13):
        died, ends = killed_once(storage, killer, at, after=bool(at % 2))
        acknowledged += ends
        if not died:
            break
    assert_settled(storage, 3)
    with StudyStore(storage) as store:
        rows = all_trials(store, store.study("s").id).to_dict("records")
    assert set(acknowledged) <= {(row["trial"], row["status"], row["val_accuracy"]) for row in rows}


# SIGKILL


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_sigkill_at_random_moments_loses_nothing(storage: str, tmp_path: Path, seed: int) -> None:
    class Noted(Heard):
        def ended(self, number: int, status: str, val_accuracy: float | None, reason: str | None) -> None:
            with open(tmp_path / "acknowledged", "a", encoding="utf-8") as file:
                file.write(f"{number} {status} {val_accuracy}\n")

    def work() -> None:
        small_search(storage, budget=12, evaluate=Fake(pause=0.02), progress=Noted())

    moments, kills = random.Random(seed), 0
    for life in itertools.count():
        child = Child(work, tmp_path / f"{life}.txt")
        time.sleep(moments.uniform(0.05, 0.8) * 1.1**life)  # a machine slower than these moments gets there, too
        child.send(signal.SIGKILL)
        code = child.end()
        assert code in (0, -signal.SIGKILL), child.text
        if code == 0:
            break
        kills += 1
    assert kills
    result = small_search(storage, budget=12)
    assert_settled(storage, 12)
    stored = {f"{row['trial']} {row['status']} {row['val_accuracy']}" for row in result.dataframe().to_dict("records")}
    assert set((tmp_path / "acknowledged").read_text().splitlines()) <= stored


def interrupted_by(storage: str, count: int, at_epoch: int = 1, epochs_each: int = 3, **settings: Any) -> None:
    """A run that is told to stop in its trial numbered `count`, at the end of an epoch."""

    def evaluate(architecture: Architecture, *, seed: int, stop: Any) -> Iterator[Any]:
        trained.append(architecture)
        for epoch in range(1, epochs_each + 1):
            if len(trained) == count and epoch == at_epoch:
                os.kill(os.getpid(), signal.SIGTERM)
            yield score(epoch, accuracy_of(architecture))

    trained: list[Architecture] = []
    result = small_search(storage, evaluate=evaluate, **settings)
    assert (result.ended, result.signal) == ("interrupted", signal.SIGTERM)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_an_interrupted_search_trains_what_an_unbroken_one_does(storage: str, sampler: str) -> None:
    whole = Fake()
    small_search(storage, study="whole", budget=14, evaluate=whole, sampler=sampler)
    interrupted_by(storage, 4, budget=14, sampler=sampler)
    rest = Fake()
    result = small_search(storage, budget=14, evaluate=rest, sampler=sampler)
    assert rest.digests == whole.digests[3:]
    assert rest.seeds == whole.seeds[3:]
    trained = result.dataframe().query("status != 'INTERRUPTED'")
    assert list(trained["digest"]) == whole.digests
    assert_settled(storage, 14)


@pytest.mark.parametrize(("count", "at_epoch"), [(1, 6), (4, 6), (13, 2)])
def test_it_does_so_by_default_too_and_past_a_rung(storage: str, count: int, at_epoch: int) -> None:
    """What was interrupted is neither known to the sampler nor a rival of what takes its place."""
    settings: dict[str, Any] = {"budget": 15, "epochs": 9, "sampler": "evolution", "pruner": "rungs"}
    whole, rest = Fake(epochs=9), Fake(epochs=9)
    unbroken = small_search(storage, study="whole", evaluate=whole, **settings).dataframe()
    interrupted_by(storage, count, at_epoch, epochs_each=9, **settings)
    found = small_search(storage, evaluate=rest, **settings).dataframe().query("status != 'INTERRUPTED'")
    assert rest.digests == whole.digests[count - 1 :]
    columns = ["digest", "seed", "status", "val_accuracy", "epochs"]
    assert found[columns].to_dict("records") == unbroken[columns].to_dict("records")
    assert_settled(storage, 15)


@pytest.mark.parametrize("count", [1, 3])
def test_choices_from_the_queue_are_not_lost_with_an_interrupted_trial(storage: str, count: int) -> None:
    earlier = small_search(storage, budget=14, study="earlier", sampler="random", pruner="none")
    best = list(earlier.rank()["digest"])[:10]
    rest, settings = Fake(), {"budget": 12, "warm_start": "earlier", "pruner": "none"}
    interrupted_by(storage, count, **settings)
    small_search(storage, evaluate=rest, **settings)
    assert rest.digests[: 10 - count + 1] == best[count - 1 :]
    again = [trial for trial in optuna_trials(storage) if trial.user_attrs.get(DIGEST) == best[count - 1]]
    assert [trial.state for trial in again] == [TrialState.FAIL, TrialState.COMPLETE]
    assert again[0].user_attrs[ORIGIN] == again[1].user_attrs[ORIGIN]
    assert_settled(storage, 12)


def test_the_same_holds_in_a_space_with_duplicates_and_limits(storage: str) -> None:
    whole, rest = Fake(), Fake()
    settings = {**LIMITED, "epochs": 3, "sampler": "random"}
    small_search(storage, **settings, study="whole", evaluate=whole)
    interrupted_by(storage, 2, **settings)
    small_search(storage, **settings, evaluate=rest)
    assert rest.digests == whole.digests[1:]


# Signals, on the real command


ARGUMENTS = ["search", "--dataset", "digits", "--space", "tiny", "--epochs", "500", "--budget", "3", "--device", "cpu"]


def nas_command(storage: str) -> None:
    import sys

    from nas.cli import main

    sys.argv = ["nas", *ARGUMENTS, "--storage", storage]
    main(sys.argv[1:])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_trial_and_says_how_to_resume(storage: str, tmp_path: Path, number: signal.Signals) -> None:
    child = Child(lambda: nas_command(storage), tmp_path / "out.txt")
    child.says("trial 0:")
    time.sleep(0.5)
    child.send(number)
    started = time.monotonic()
    assert child.end() == 128 + number
    assert time.monotonic() - started < 30  # not the minute that the wait would take
    assert f"interrupted; nothing is lost, resume with: nas {' '.join(ARGUMENTS)} --storage {storage}" in child.text
    assert "Traceback" not in child.text
    assert_settled(storage, 0, "digits-tiny")
    [trial] = optuna_trials(storage, "digits-tiny")
    assert trial.user_attrs["reason"] == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_data_are_read_is_heard_at_once(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def slow(*_: Any, **__: Any) -> Any:
        print("reading", flush=True)
        time.sleep(60)

    monkeypatch.setattr("nas.plan.load_dataset", slow)
    child = Child(lambda: nas_command(storage), tmp_path / "out.txt")
    child.says("reading")
    started = time.monotonic()
    child.send(number)
    assert child.end() == 128 + number
    assert time.monotonic() - started < 30  # not the minute that the wait would take
    assert "resume with: nas search --dataset digits" in child.text
    assert "Traceback" not in child.text


def test_a_second_signal_ends_a_step_that_does_not(storage: str, tmp_path: Path) -> None:
    def evaluate(architecture: Architecture, *, seed: int, stop: Any) -> Iterator[Any]:
        yield score(1)
        print("stuck", flush=True)
        time.sleep(60)

    child = Child(lambda: small_search(storage, evaluate=evaluate), tmp_path / "out.txt")
    child.says("stuck")
    child.send(signal.SIGINT)
    time.sleep(0.3)
    assert os.waitpid(child.pid, os.WNOHANG) == (0, 0), "the first signal waits for the step"
    started = time.monotonic()
    child.send(signal.SIGINT)
    child.end()
    assert time.monotonic() - started < 30  # not the minute that the wait would take
    assert_settled(storage, 0)


def test_two_signals_while_a_result_is_written_leave_no_half_of_it(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = optuna.Study.tell

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        return tell(*args, **kwargs)

    monkeypatch.setattr(optuna.Study, "tell", interrupted)
    result = small_search(storage)
    assert result.ended == "interrupted"
    assert_settled(storage, 1)


# Time

EPOCHS = 1000


def test_at_the_deadline_the_running_trial_is_pruned_and_the_best_is_there(storage: str) -> None:
    fake = Fake(pause=0.2, epochs=EPOCHS)
    result = small_search(storage, budget=50, time_limit=4.0, epochs=EPOCHS, evaluate=fake)
    assert result.ended == "the time is up"
    assert len(fake.trained) == 1
    assert result.best.status == PRUNED
    assert result.best.evaluation.reason == "the time is up"
    assert_settled(storage, 1)


def test_the_deadline_holds_within_an_epoch(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def late(self: StopSignal) -> bool:
        nonlocal asked
        asked += 1
        return asked > 40  # of some 600 steps of the first epoch

    monkeypatch.setattr(StopSignal, "late", property(late))
    slow = {"epochs": 2, "batch_size": 2, "limit_train": None, "evaluate": None}
    result = small_search(storage, budget=50, **slow)
    assert result.ended == "the time is up"
    # Nothing is known of it: it has not taken a slot of the budget, and the next run may train it.
    assert list(result.dataframe()["status"]) == [INTERRUPTED]
    assert_settled(storage, 0)


def test_weights_of_half_an_epoch_are_not_kept(storage: str, fast_folder: Path) -> None:
    def evaluate(architecture: Architecture, *, seed: int, stop: Any) -> Iterator[Any]:
        yield score(1, network=torch.nn.Linear(1, 1))
        if architecture.digest in half:
            raise Stopped
        yield score(2, network=torch.nn.Linear(1, 1))

    half: set[str] = set()
    whole = small_search(storage, budget=1, epochs=2, evaluate=evaluate)
    assert len(list(fast_folder.rglob("*.safetensors"))) == 1
    half |= {small_search(storage, study="t", budget=1, epochs=2, evaluate=Fake(epochs=2)).best.architecture.digest}
    assert whole.best.architecture.digest in half
    small_search(storage, study="u", budget=1, epochs=2, evaluate=evaluate)
    assert len(list(fast_folder.rglob("*.safetensors"))) == 1


def test_weights_that_another_process_keeps_meanwhile_stay(
    storage: str, fast_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended its trial after this one read the ranking: a better one, of which nothing stands there."""
    ranked = nas.search_run.leaderboard

    def ranked_then_kept(*given: Any) -> Any:
        found = ranked(*given)
        [folder] = [each for each in fast_folder.glob("*-weights/*") if each.is_dir()]
        (folder / "another.safetensors").touch()
        return found

    network = torch.nn.Linear(1, 1)
    steady = lambda architecture, **_: iter([score(1, accuracy_of(architecture), network=network)])  # noqa: E731
    small_search(storage, budget=1, epochs=1, evaluate=steady)
    monkeypatch.setattr(nas.search_run, "leaderboard", ranked_then_kept)
    small_search(storage, budget=2, epochs=1, evaluate=steady)
    assert len(list(fast_folder.glob("*-weights/*/another.safetensors"))) == 1
    monkeypatch.setattr(nas.search_run, "leaderboard", ranked)
    small_search(storage, budget=3, epochs=1, evaluate=steady)
    assert list(fast_folder.glob("*-weights/*/another.safetensors")) == []


def test_weights_that_cannot_be_written_do_not_end_the_search(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def evaluate(architecture: Architecture, *, seed: int, stop: Any) -> Iterator[Any]:
        yield score(1, network=torch.nn.Linear(1, 1))

    monkeypatch.setattr("nas.search_run.keep_weights", full)
    heard = Heard()
    small_search(storage, budget=2, epochs=1, evaluate=evaluate, progress=heard)
    assert "No space left on device" in heard.notes[0]
    assert_settled(storage, 2)


# Several processes


@pytest.mark.parametrize("limit", [None, "6k"])
def test_two_searches_at_once_share_one_budget(storage: str, tmp_path: Path, limit: str | None) -> None:
    work = lambda: small_search(storage, budget=16, evaluate=Fake(pause=0.05), max_params=limit)  # noqa: E731
    children = [Child(work, tmp_path / f"{number}.txt") for number in range(2)]
    assert [child.end() for child in children] == [0, 0], [child.text for child in children]
    assert_settled(storage, 16)
    with StudyStore(storage) as store:
        rows = all_trials(store, store.study("s").id)
    assert len(rows) == 16
    spans = [(row["started_at"], row["ended_at"]) for row in rows.to_dict("records")]
    assert any(a[0] < b[0] < a[1] for a, b in itertools.permutations(spans, 2)), "they did not work at once"


def test_many_that_start_at_once_on_no_database_make_one_study(storage: str, tmp_path: Path) -> None:
    work = lambda: small_search(storage, budget=6)  # noqa: E731
    children = [Child(work, tmp_path / f"{number}.txt") for number in range(4)]
    assert [child.end() for child in children] == [0] * 4, [child.text for child in children]
    assert_settled(storage, 6)


def claim(storage: str, owner: str, study: str = "s") -> Slot:
    """A slot claimed by somebody, whose trial runs."""
    with twin_study(storage, study) as twin:
        slot = twin.store.claim_slot(twin.row.id, owner, 1000)
        assert slot is not None
        twin.study.ask()
        return slot


def prepare(storage: str, budget: int = 4) -> None:
    small_search(storage, budget=1)
    with StudyStore(storage) as store:
        store.ensure_slots(store.study("s").id, budget)


def dead_owner() -> str:
    host, pid, started = this_process().rsplit("/", 2)
    return f"{host}/{pid}/{int(started) - 1}"  # the same pid, but a process that started earlier


def test_what_a_dead_process_of_this_machine_held_is_free_at_once(storage: str) -> None:
    prepare(storage)
    claim(storage, dead_owner())
    heard, started = Heard(), time.monotonic()
    small_search(storage, budget=4, progress=heard)
    assert time.monotonic() - started < 30  # not the minute that the wait would take
    assert heard.notes == ["1 trial(s) of an interrupted run are not counted and will be replaced"]
    assert_settled(storage, 4)


def test_what_a_living_process_of_this_machine_holds_is_left_alone(storage: str, tmp_path: Path) -> None:
    prepare(storage)
    child = Child(lambda: (claim(storage, this_process()), print("claimed"), time.sleep(60)), tmp_path / "out.txt")
    child.says("claimed")
    fake = Fake()
    result = small_search(storage, budget=4, evaluate=fake)
    assert len(fake.trained) == 2
    with StudyStore(storage) as store:
        assert store.slot_counts(result.study.id)["CLAIMED"] == 1
    assert [t.state for t in optuna_trials(storage)].count(TrialState.RUNNING) == 1
    child.send(signal.SIGKILL)
    child.end()
    small_search(storage, budget=4, evaluate=fake)
    assert len(fake.trained) == 3
    assert_settled(storage, 4)


def test_what_an_earlier_run_in_this_process_held_is_free(storage: str) -> None:
    prepare(storage)
    claim(storage, this_process())
    small_search(storage, budget=4)
    assert_settled(storage, 4)


def test_another_machine_is_watched_before_its_trial_is_taken(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.search_run, "GRACE", 1.0)
    prepare(storage)
    claim(storage, "elsewhere/0/1/1")
    heard, started = Heard(), time.monotonic()
    small_search(storage, budget=4, progress=heard)
    assert time.monotonic() - started >= 1.0
    assert "1 trial(s) are claimed by other machines; watching them for 1 s" in heard.notes
    assert_settled(storage, 4)


def test_another_machine_that_beats_is_left_alone(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.search_run, "GRACE", 1.0)
    prepare(storage)
    slot = claim(storage, "elsewhere/0/1/1")
    with StudyStore(storage) as store, Heartbeat(lambda: store.beat(slot), seconds=0.1):
        fake = Fake()
        small_search(storage, budget=4, evaluate=fake)
        assert len(fake.trained) == 2
        assert store.slot_counts(store.study("s").id)["CLAIMED"] == 1


def test_a_worker_that_was_counted_dead_changes_nothing_any_more(storage: str) -> None:
    """Its slot and trial are taken in the middle of its training; it gives up and works on."""

    def evaluate(architecture: Architecture, *, seed: int, stop: Any) -> Iterator[Any]:
        trained.append(architecture.digest)
        yield score(1)
        if len(trained) == 1:
            with twin_study(storage) as twin:
                assert twin.settle(twin.store.claimed_slots(twin.row.id)) == 1
        yield score(2)
        yield score(3)

    trained: list[str] = []
    result = small_search(storage, budget=2, evaluate=evaluate)
    assert list(result.dataframe()["status"]).count(INTERRUPTED) == 1
    assert trained[0] == trained[1]
    assert_settled(storage, 2)


def test_a_worker_counted_dead_in_its_last_epoch_keeps_the_slot_of_another(storage: str) -> None:
    class Late(Heard):
        def epoch(self, number: int, score: Any) -> None:
            if score.epoch == 3 and not late:
                late.append(1)
                with twin_study(storage) as twin:
                    twin.settle(twin.store.claimed_slots(twin.row.id))

    late: list[int] = []
    heard = Late()
    small_search(storage, budget=2, progress=heard)
    assert [end[1] for end in heard.ends][:2] == [INTERRUPTED, COMPLETE]
    assert_settled(storage, 2)


def test_a_failing_beat_is_tried_again() -> None:
    beats: list[float] = []

    def beat() -> None:
        beats.append(time.monotonic())
        raise OSError("the database is away")

    with Heartbeat(beat, seconds=0.01):
        time.sleep(0.2)
    count = len(beats)
    assert count > 2
    time.sleep(0.05)
    assert len(beats) == count


def test_a_process_is_told_from_another_of_the_same_pid() -> None:
    assert is_here(this_process())
    assert lives(this_process())
    assert not lives(dead_owner())
    assert not is_here("elsewhere/0/1/1")
    if sys.platform == "linux":  # a container of this host's name sees other processes
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
        assert not is_here(this_process().replace(f"-{namespace}/", "-1/"))
    child = os.fork()
    if child == 0:
        os._exit(0)
    zombie = f"{this_process().rsplit('/', 2)[0]}/{child}/1"
    time.sleep(0.1)
    assert not lives(zombie)
    os.waitpid(child, 0)


# Optuna's side


def test_a_foreign_optuna_study_is_refused_and_left_alone(storage: str) -> None:
    with StudyStore(storage) as store:
        theirs = optuna.create_study(storage=optuna_storage(store), study_name="s", direction="maximize")
        for ask in (False, True):
            if ask:
                theirs.ask()
            with pytest.raises(NasError, match="an Optuna study named 's' that nas did not make"):
                small_search(storage)
            assert len(store.studies()) == 0
        assert LINK not in theirs.user_attrs


def left_without_the_unique_index(storage: str) -> None:
    """Optuna's tables as a process leaves them that dies between the first one and its index."""
    with StudyStore(storage) as store:
        optuna_side = optuna_storage(store)
        with optuna_side.engine.begin() as connection:
            [index] = [
                index for index in inspect(connection).get_indexes("studies") if index["column_names"] == ["study_name"]
            ]
            of_table = " ON studies" if connection.dialect.name == "mysql" else ""
            connection.execute(text(f"DROP INDEX {index['name']}{of_table}"))
        close_storage(optuna_side)


def test_a_death_before_optunas_index_of_names_is_mended(storage: str) -> None:
    left_without_the_unique_index(storage)
    for budget in (1, 2):
        small_search(storage, budget=budget)
    assert_settled(storage, 2)


def test_a_study_deleted_in_the_dashboard_is_refused_and_its_results_stay(storage: str) -> None:
    small_search(storage, budget=2)
    optuna.delete_study(study_name="s", storage=storage)
    with pytest.raises(NasError, match="the Optuna study 's' was deleted, its results are still there"):
        small_search(storage, budget=4)
    assert optuna.get_all_study_names(storage) == []
    with StudyStore(storage) as store:
        assert len(all_trials(store, store.study("s").id)) == 2


def test_a_study_deleted_before_anything_ended_begins_anew(storage: str) -> None:
    prepare_only = small_search(storage, budget=1, evaluate=lambda *_, **__: iter(()), study="other")
    assert prepare_only.study.name == "other"
    interrupted_by(storage, 1)
    optuna.delete_study(study_name="s", storage=storage)
    small_search(storage, budget=2)
    with StudyStore(storage) as store:
        assert store.slot_counts(store.study("s").id)["DONE"] == 2


def test_a_study_deleted_during_its_search_ends_it_plainly(storage: str) -> None:
    def evaluate(architecture: Architecture, *, seed: int, stop: Any) -> Iterator[Any]:
        yield score(1)
        optuna.delete_study(study_name="s", storage=storage)
        yield score(2)

    with pytest.raises(RunError, match="the Optuna study 's' was deleted during the search"):
        small_search(storage, evaluate=evaluate)


@pytest.mark.parametrize("name", ["{braces} {0}", "per%20cent %s", "quest?ion#mark", "emoji 🐱 é"])
def test_a_database_may_lie_in_any_folder(fast_folder: Path, name: str) -> None:
    from sqlalchemy import URL

    (fast_folder / name).mkdir()
    storage = URL.create("sqlite", database=f"{fast_folder}/{name}/nas.db").render_as_string()
    small_search(storage, budget=2)
    assert_settled(storage, 2)
    assert [path.name for path in fast_folder.iterdir()] == [name]


@pytest.mark.database
class TestServers:
    @pytest.fixture(params=["postgresql_url", "mysql_url"])
    def storage(self, request: pytest.FixtureRequest) -> str:
        return request.getfixturevalue(request.param)

    def test_it_searches_and_resumes(self, storage: str) -> None:
        interrupted_by(storage, 3, budget=6)
        small_search(storage, budget=6, max_params="6k")
        assert_settled(storage, 6)

    def test_a_death_before_optunas_index_of_names_is_mended(self, storage: str) -> None:
        test_a_death_before_optunas_index_of_names_is_mended(storage)

    def test_searches_at_once_share_one_budget(self, storage: str, tmp_path: Path) -> None:
        work = lambda: small_search(storage, budget=16, evaluate=Fake(pause=0.02))  # noqa: E731
        children = [Child(work, tmp_path / f"{number}.txt") for number in range(3)]
        assert [child.end() for child in children] == [0] * 3, [child.text for child in children]
        assert_settled(storage, 16)

    def test_sigkill_at_random_moments_loses_nothing(self, storage: str, tmp_path: Path) -> None:
        test_sigkill_at_random_moments_loses_nothing(storage, tmp_path, 5)
