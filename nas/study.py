"""A study in both its homes: Optuna's tables, which samplers and the dashboard read, and the store's."""

from __future__ import annotations

import random
import time
import uuid
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from nas.candidates import Candidate
from nas.interruption import INTERRUPTION, REASON
from nas.objectives import ACCURACY, Objectives
from nas.one_commit import group_commits, one_commit
from nas.ownership import is_here, lives, this_process
from nas.pictures import picture_attribute
from nas.study_names import LINK, advising, require_ours, require_own_name
from searchspace import cost
from studies import (
    COMPLETE,
    FAIL,
    INTERRUPTED,
    PRUNED,
    Slot,
    Study,
    StudyStore,
    UnknownTrial,
    connect_arguments,
    ensure_unique,
)

EVALUATION = "nas_evaluation"  # Optuna trial's user attribute: the id of its evaluation
RUNGS = "rungs"  # likewise: with several objectives, the accuracy at the end of each rung, by its epoch
EXECUTION = "execution"  # likewise: the precision and how the steps ran, such as "bfloat16, channels_last, CUDA graph"
OPENINGS = 20  # times that Optuna's tables are tried to be made, where other processes make them too


class TakenOver(Exception):
    """Another process counted this trial's worker as dead and ended the trial; its result comes too late."""


@dataclass(frozen=True)
class Outcome:
    """How a trial's training ended."""

    status: str
    val_accuracy: float | None = None
    reason: str | None = None
    epochs: int = 0
    seconds: float | None = None
    images_per_second: float | None = None
    batch_size: int | None = None
    execution: str | None = None


class TwinStudy:
    """An Optuna study and its twin in the store.

    Optuna's `tell` is the one commit point of a trial; the evaluation's status and the budget slot follow from it and
    are mended by `recover` if a process died between the two. A claimed slot names its evaluation before anything else
    of the trial is written, so that everything begun can be found.
    """

    def __init__(
        self,
        store: StudyStore,
        row: Study,
        study: optuna.Study,
        storage: RDBStorage,
        objectives: Objectives | None = None,
    ) -> None:
        self.store = store
        self.row = row
        self.study = study
        self.storage = storage
        self.objectives = Objectives.parse(str(row.settings["objective"]))

    @classmethod
    def open(
        cls, store: StudyStore, name: str, settings: Mapping[str, Any], pruner: optuna.pruners.BasePruner
    ) -> TwinStudy:
        """Create the study in both homes, or open it for more trials; the setting `objective` says what it is after.

        Raises:
            StudyMismatch: it was made with other settings.
            NasError: one of the twins was deleted, the Optuna study is somebody else's, or Optuna's tables cannot tell
                the name from another one's; nothing has changed then.
        """
        storage = optuna_storage(store)
        try:
            return cls._open(store, storage, name, settings, pruner)
        except BaseException:
            close_storage(storage)
            raise

    @classmethod
    def _open(
        cls,
        store: StudyStore,
        storage: RDBStorage,
        name: str,
        settings: Mapping[str, Any],
        pruner: optuna.pruners.BasePruner,
    ) -> TwinStudy:
        require_own_name(storage, store, name)
        require_ours(storage, store, name)
        with advising():
            row = store.open_study(name, settings)
        objectives = Objectives.parse(str(settings["objective"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=objectives.directions,
                load_if_exists=True,
                pruner=pruner,
            )
            require_own_name(storage, store, name)  # of two made at the same time Optuna gave us the other one
            if LINK not in study.user_attrs:
                study.set_metric_names(list(objectives.names))
                for key, value in settings.items():
                    study.set_user_attr(key, value)
                study.set_user_attr(LINK, row.id)
        return cls(store, row, study, storage)

    def close(self) -> None:
        """Close the connections to Optuna's side; the store is the caller's."""
        close_storage(self.storage)

    def begin(self, candidate: Candidate, slot: Slot, **facts: Any) -> str:
        """Record that a candidate's training starts, in both homes; returns the evaluation's id.

        Raises:
            TakenOver: the slot was given to another process.
        """
        evaluation_id = str(uuid.uuid4())
        trial, proposal = candidate.trial, candidate.proposal
        architecture, base = proposal.architecture, proposal.base
        costs = {base.digest: (base, None), architecture.digest: (architecture, proposal.cost)}
        for digest, (recorded, its_cost) in costs.items():
            its_cost = its_cost or cost(recorded)
            self.store.record_architecture(
                digest, recorded.to_json(), its_cost.params, its_cost.macs, its_cost.activations
            )
        if not self.store.attach(slot, evaluation_id):
            self._interrupt(trial._trial_id)
            raise TakenOver
        with one_commit(trial.storage):
            trial.set_user_attr(EVALUATION, evaluation_id)
            for name in ("params", "macs", "activations"):
                trial.set_user_attr(name, getattr(proposal.cost, name))
            self.storage.set_trial_system_attr(trial._trial_id, *picture_attribute(evaluation_id))
        self.store.start_evaluation(
            evaluation_id=evaluation_id,
            study_id=self.row.id,
            trial_number=trial.number,
            digest=architecture.digest,
            base_digest=base.digest,
            choices=dict(proposal.choices),
            latency_ms=candidate.latency_ms,
            **facts,
        )
        return evaluation_id

    def finish(self, trial: optuna.Trial, slot: Slot, evaluation_id: str, outcome: Outcome) -> Outcome:
        """Record how it ended, Optuna first, then what follows from it; returns what stands.

        That is not `outcome` where another process has ended the trial before.
        """
        state = _STATES[outcome.status]
        try:
            if outcome.val_accuracy is not None:
                trial.set_user_attr(ACCURACY, outcome.val_accuracy)
            if outcome.execution:
                trial.set_user_attr(EXECUTION, outcome.execution)
            if outcome.reason is not None:
                trial.set_user_attr(REASON, outcome.reason)
            values = None
            if state == TrialState.COMPLETE and outcome.val_accuracy is not None:
                values = self.objectives.values(outcome.val_accuracy, trial.user_attrs)
            told = self.study.tell(trial, values, state=state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            told = self.storage.get_trial(trial._trial_id)
        if told.state != state or told.user_attrs.get(REASON) != outcome.reason:
            outcome = _outcome_of(told)
        self._derive(slot, evaluation_id, outcome)
        return outcome

    def _derive(self, slot: Slot, evaluation_id: str, outcome: Outcome) -> None:
        try:
            self.store.finish_evaluation(
                evaluation_id,
                outcome.status,
                val_accuracy=outcome.val_accuracy,
                reason=outcome.reason,
                epochs=outcome.epochs or None,
                seconds=outcome.seconds,
                images_per_second=outcome.images_per_second,
                batch_size=outcome.batch_size,
            )
        except UnknownTrial:  # it died between naming the evaluation and starting it
            outcome = Outcome(INTERRUPTED, reason=INTERRUPTION)
        if outcome.status == INTERRUPTED:
            self.store.release_slot(slot, outcome.reason)
        else:
            self.store.close_slot(slot)

    def recover(self) -> int:
        """Mend what dead processes of this machine left; returns how many slots of the budget were freed.

        To be called between trials: what this process itself has claimed then was left by an earlier run in it.
        """
        running = [trial._trial_id for trial in self._trials(TrialState.RUNNING)]
        claimed = self.store.claimed_slots(self.row.id)
        dead = [slot for slot in claimed if _abandoned(slot)]
        freed = self.settle(dead)
        if len(dead) == len(claimed):
            # A slot is claimed before its trial is asked for and given back after it is told. So when nobody else had
            # one, what ran shortly before was left by the dead, or has ended by itself.
            for trial_id in running:
                self._interrupt(trial_id)
        return freed

    def settle(self, slots: Iterable[Slot]) -> int:
        """Bring slots whose owner is gone to the state their Optuna trials command; returns how many are open again."""
        slots = list(slots)
        trials = {trial.user_attrs.get(EVALUATION): trial._trial_id for trial in self._trials()} if slots else {}
        freed = 0
        for slot in slots:
            if slot.evaluation_id is None:
                freed += self.store.release_slot(slot, INTERRUPTION)
                continue
            trial_id = trials.get(slot.evaluation_id)
            outcome = _outcome_of(None if trial_id is None else self._interrupt(trial_id))
            self._derive(slot, slot.evaluation_id, outcome)
            freed += outcome.status == INTERRUPTED
        return freed

    def deleted(self) -> bool:
        """Whether the Optuna study is gone, by the dashboard for example."""
        return self.row.name not in {study.study_name for study in self.storage.get_all_studies()}

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _interrupt(self, trial_id: int) -> FrozenTrial:
        """End a trial whose worker is gone, unless it has ended; returns it as it stands."""
        try:
            self.storage.set_trial_user_attr(trial_id, REASON, INTERRUPTION)
            self.storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            pass
        return self.storage.get_trial(trial_id)


_STATES = {
    COMPLETE: TrialState.COMPLETE,
    PRUNED: TrialState.PRUNED,
    FAIL: TrialState.FAIL,
    INTERRUPTED: TrialState.FAIL,
}


def _abandoned(slot: Slot) -> bool:
    """Whether its owner cannot be at work on it; of other machines that cannot be known from here."""
    owner = slot.owner or ""
    return not owner or owner == this_process() or (is_here(owner) and not lives(owner))


def _outcome_of(trial: FrozenTrial | None) -> Outcome:
    if trial is None or not trial.state.is_finished():
        return Outcome(INTERRUPTED, reason=INTERRUPTION)
    reason = trial.user_attrs.get(REASON)
    if trial.state == TrialState.FAIL:
        return Outcome(INTERRUPTED if reason == INTERRUPTION else FAIL, reason=reason)
    if trial.state == TrialState.COMPLETE:
        return Outcome(COMPLETE, trial.values[0], reason)
    return Outcome(PRUNED, trial.user_attrs.get(ACCURACY), reason)


def optuna_storage(store: StudyStore) -> RDBStorage:
    """Optuna's storage in the store's database; its tables are made at the first time."""
    options: dict[str, Any] = {"connect_args": connect_arguments(store.url)}
    if store.url.get_backend_name() != "sqlite":
        # MySQL's default isolation shows a process what it read before, not what others have written since.
        options |= {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}
    # RDBStorage runs str.format over its URL.
    url = store.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    for attempt in range(OPENINGS):
        try:
            storage = RDBStorage(url, engine_kwargs=options)
            group_commits(storage)
            ensure_unique(store, "studies", "study_name", "ix_studies_study_name")
            return storage
        except Exception:  # Optuna looks whether its tables are there, then makes them, in two steps
            if attempt == OPENINGS - 1:
                raise
            time.sleep(random.uniform(0.05, 0.3))
    raise AssertionError


def close_storage(storage: RDBStorage) -> None:
    """Close the storage's connections; it opens new ones when it is used again."""
    storage.remove_session()
    storage.engine.dispose()
