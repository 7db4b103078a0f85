"""The loop of a search: claim a slot of the budget, ask, train, tell, record, until budget, time or space is spent."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from nas.candidates import Candidate, Candidates, Exhausted
from nas.errors import RunError
from nas.evaluate import Evaluate, Lanes, OneLane, TrainingFailed, Unavailable, guarded
from nas.interruption import INTERRUPTION
from nas.ownership import Heartbeat, is_here, this_process
from nas.progress import Progress
from nas.promotion import goes_on
from nas.result import SearchResult
from nas.stop import StopSignal
from nas.study import RUNGS, Outcome, TakenOver, TwinStudy
from nas.training.recipe import Recipe
from nas.training.score import Diverged, EpochScore, Stopped
from nas.training.seeds import derive_seed
from nas.training.trial import OutOfMemory
from nas.weights import KEPT, forget_weights, keep_weights, kept_weights
from searchspace import Architecture
from studies import COMPLETE, FAIL, INTERRUPTED, PRUNED, Slot, leaderboard

FAILURES_IN_A_ROW = 10
GRACE = 60.0  # seconds without a beat after which a trial of another machine counts as abandoned
SLOTS_AT_ONCE = 1000

logger = logging.getLogger("nas")


Turns = Generator[None, None, Outcome]
"""A trial under way: every `next` is a turn, which ends where its training has nothing new to say."""


@dataclass
class SearchRun:
    """One run of a search over one study; `facts` are stored with every trial.

    A recipe with rungs reports to Optuna the last score of each: those within a schedule say little of a network while
    the rate is high. Without rungs every epoch is reported.

    Everything happens in the caller's thread, also where `lanes` lets several trials be under way at once: these take
    turns, and none is interrupted while it writes a record.
    """

    twin: TwinStudy
    candidates: Candidates
    evaluate: Evaluate
    budget: int
    seed: int
    recipe: Recipe
    facts: dict[str, Any]
    stop: StopSignal
    progress: Progress
    weights: Path
    lanes: Lanes = field(default_factory=OneLane)

    def search(self) -> SearchResult:
        """Train until something ends the search.

        Raises:
            RunError: ten trials in a row failed, or the study was deleted meanwhile.
        """
        mended = self.twin.recover()
        if mended:
            self.progress.note(f"{mended} trial(s) of an interrupted run are not counted and will be replaced")
        self.progress.search(self.budget, *self._standing(), self.stop.deadline)
        try:
            ended = self._trials()
        except KeyError:
            if not self.twin.deleted():
                raise
            raise RunError(f"the Optuna study {self.twin.row.name!r} was deleted during the search") from None
        return SearchResult(self.twin.store, self.twin.row, ended, self.stop.signal)

    def _standing(self) -> tuple[int, float | None]:
        """How many trials of the study have ended, whoever trained them, and the best accuracy of those."""
        store, study_id = self.twin.store, self.twin.row.id
        best = store.best(study_id)
        return store.slot_counts(study_id)["DONE"], best.val_accuracy if best and best.status == COMPLETE else None

    def _trials(self) -> str:
        """Train until something ends the search; says what."""
        running: list[Turns] = []
        ended, full, failures = None, False, 0
        try:
            while running or ended is None:
                begun = None
                if ended is None and not full and len(running) < self.lanes.count:
                    begun = self._begin(alone=not running)
                    if isinstance(begun, str):
                        ended = begun
                    elif begun is not None:
                        running.append(begun)
                    else:
                        full = bool(running)  # the budget is claimed; a trial that ends may give its slot back
                for outcome in _turns(running):
                    full = False
                    failures = failures + 1 if outcome.status == FAIL else 0
                    if failures == FAILURES_IN_A_ROW:
                        raise RunError(f"{failures} trials in a row failed, the last one with: {outcome.reason}")
                if running and begun is None:
                    self.lanes.wait()
        finally:
            with ExitStack() as each:
                for trial in running:
                    each.callback(trial.close)
        return ended

    def _begin(self, alone: bool) -> Turns | str | None:
        """A trial to train, or why there will be no more; None for none now. `alone`: no other trial is under way."""
        if self.stop():
            return "interrupted" if self.stop.interrupted else "the time is up"
        slot = self._claim()
        if slot is None:
            if not alone or self._replace_abandoned():
                return None
            return None if self.stop() else f"the budget of {self.budget} trials is spent"
        try:
            with Heartbeat(lambda: self.twin.store.beat(slot)):  # latencies are measured, for minutes if need be
                candidate = self.candidates.next(slot.slot_no, self.stop)
        except Exhausted as error:
            self.twin.store.release_slot(slot, "nothing new")
            return f"nothing new is left: {error}"
        except BaseException:
            self.twin.store.release_slot(slot, INTERRUPTION)
            raise
        if candidate is None:
            self.twin.store.release_slot(slot, INTERRUPTION)
            return None
        return self._trial(slot, candidate)

    def _claim(self) -> Slot | None:
        """A slot of the budget; its rows are made as they are needed."""
        store, study_id = self.twin.store, self.twin.row.id
        while (slot := store.claim_slot(study_id, this_process(), self.budget)) is None:
            present = sum(store.slot_counts(study_id).values())
            if present >= self.budget:
                return None
            store.ensure_slots(study_id, min(self.budget, present + SLOTS_AT_ONCE))
        return slot

    def _trial(self, slot: Slot, candidate: Candidate) -> Turns:
        """Train one candidate and record how it ended; an error of the search itself leaves it interrupted."""
        trial, proposal = candidate.trial, candidate.proposal
        seed = derive_seed(self.seed, "trial", slot.slot_no)
        try:
            with self.stop.after(3):
                evaluation_id = self.twin.begin(candidate, slot, seed=seed, **self.facts)
        except (TakenOver, UpdateFinishedTrialError):
            return Outcome(INTERRUPTED, reason=INTERRUPTION)
        self.progress.trial(trial.number, proposal.architecture, proposal.cost, self.recipe.rung_ends[-1])
        scores: list[EpochScore] = []
        outcome = Outcome(INTERRUPTED, reason=INTERRUPTION)
        started = time.monotonic()
        try:
            with self.stop.after(2), Heartbeat(lambda: self.twin.store.beat(slot)):
                outcome = yield from self._train(trial, evaluation_id, proposal.architecture, seed, scores)
        finally:
            with self.stop.after(3):
                outcome = _with_scores(outcome, scores, time.monotonic() - started)
                outcome = self.twin.finish(trial, slot, evaluation_id, outcome)
        if scores and outcome.status in (COMPLETE, PRUNED):
            self._keep_best(evaluation_id, scores[-1])
        self.progress.study(*self._standing())
        self.progress.ended(trial.number, outcome.status, scores[-1].val_accuracy if scores else None, outcome.reason)
        return outcome

    def _train(
        self, trial: optuna.Trial, evaluation_id: str, architecture: Architecture, seed: int, scores: list[EpochScore]
    ) -> Turns:
        """Train, record and report each epoch; the outcome without its numbers. Failed training is an outcome too."""
        try:
            with closing(guarded(partial(self.evaluate, architecture, seed=seed, stop=self.stop))) as found:
                for score in found:
                    if score is None:
                        yield
                        continue
                    if not math.isfinite(score.val_accuracy):
                        raise Diverged(f"the validation accuracy was {score.val_accuracy} in epoch {score.epoch}")
                    self._record(trial, evaluation_id, score, scores)
                    if score.epoch >= self.recipe.rung_ends[-1]:
                        break
                    if self.stop():
                        return self._stopped(scores)
                    if self._reports(score) and self._prunes(trial):
                        return Outcome(PRUNED)
        except Stopped:
            if scores:  # the weights are half an epoch on, and not those of the score
                scores[-1] = replace(scores[-1], network=None)
            return self._stopped(scores)
        except (TakenOver, Unavailable, UpdateFinishedTrialError):
            return Outcome(INTERRUPTED, reason=INTERRUPTION)
        except (Diverged, OutOfMemory) as error:
            return Outcome(FAIL, reason=str(error))
        except TrainingFailed as error:
            logger.debug("trial %d failed", trial.number, exc_info=error.__cause__)
            return Outcome(FAIL, reason=str(error))
        return Outcome(COMPLETE) if scores else Outcome(FAIL, reason="the training yielded no score")

    def _stopped(self, scores: list[EpochScore]) -> Outcome:
        """Cut short: pruned by the deadline, if there is anything to tell of it, else as if it had not begun."""
        if self.stop.interrupted or not scores:
            return Outcome(INTERRUPTED, reason=INTERRUPTION)
        return Outcome(PRUNED, reason="the time is up")

    def _record(self, trial: optuna.Trial, evaluation_id: str, score: EpochScore, scores: list[EpochScore]) -> None:
        recorded = self.twin.store.record_epoch(
            evaluation_id,
            score.epoch,
            train_loss=score.train_loss,
            val_accuracy=score.val_accuracy,
            seconds=score.seconds,
        )
        if not recorded:
            raise TakenOver
        # A training that began again with a smaller batch repeats epochs; of these Optuna keeps the first report.
        if self._reports(score) and score.epoch > max((earlier.epoch for earlier in scores), default=0):
            self._report(trial, score)
        if scores:
            scores[-1] = replace(scores[-1], network=None)  # a rung's network goes when the next one's is there
        scores.append(score)
        self.progress.epoch(trial.number, score)

    def _reports(self, score: EpochScore) -> bool:
        return not self.recipe.rungs or score.epoch in self.recipe.rung_ends

    def _report(self, trial: optuna.Trial, score: EpochScore) -> None:
        """Tell Optuna a score; of a study with several objectives it takes none, so there they are an attribute."""
        if not self.twin.objectives.several:
            trial.report(score.val_accuracy, score.epoch)
        elif self.recipe.rungs:
            known = trial.user_attrs.get(RUNGS, {})
            trial.set_user_attr(RUNGS, {**known, str(score.epoch): score.val_accuracy})

    def _prunes(self, trial: optuna.Trial) -> bool:
        if not self.twin.objectives.several:
            return trial.should_prune()
        return bool(self.recipe.rungs) and not goes_on(self.twin.study, trial, self.twin.objectives)

    def _keep_best(self, evaluation_id: str, score: EpochScore) -> None:
        """Keep this trial's weights if it is among the best, and only those of the best."""
        if score.network is None:
            return
        store, study_id = self.twin.store, self.twin.row.id
        # Looked at before the ranking: what another process keeps meanwhile may not be in the ranking that was read.
        earlier = kept_weights(self.weights)
        best = {store.evaluation(study_id, int(number)).id for number in leaderboard(store, study_id, KEPT)["trial"]}
        try:
            if evaluation_id in best:
                keep_weights(self.weights, evaluation_id, score.network)
            forget_weights(self.weights, earlier - best)
        except (OSError, RuntimeError) as error:  # a full disk, a worker or a device that is gone
            self.progress.note(f"the weights are not kept ({error}); nas export can train them again")

    def _replace_abandoned(self) -> bool:
        """Free slots whose owner is gone; of other machines' owners, those without a beat for `GRACE` seconds."""
        if self.twin.recover():
            return True
        others = [slot for slot in self._claimed() if not is_here(slot.owner or "")]
        if not others:
            return False
        self.progress.note(f"{len(others)} trial(s) are claimed by other machines; watching them for {GRACE:.0f} s")
        until = time.monotonic() + GRACE
        while others and time.monotonic() < until and not self.stop():
            time.sleep(min(1.0, GRACE / 10))
            now = {slot.slot_no: slot for slot in self._claimed()}
            others = [slot for slot in others if now.get(slot.slot_no) == slot]
        if self.stop():
            return False
        return self.twin.settle(others) > 0

    def _claimed(self) -> list[Slot]:
        return [slot for slot in self.twin.store.claimed_slots(self.twin.row.id) if slot.slot_no <= self.budget]


def _turns(running: list[Turns]) -> Iterator[Outcome]:
    """Give each trial a turn; those that ended leave the list, and their outcomes come out.

    The newest goes first: once it has begun, it gives its slot back whatever another's outcome leads to.
    """
    for trial in reversed(running.copy()):
        try:
            next(trial)
        except StopIteration as ended:
            running.remove(trial)
            yield ended.value


def _with_scores(outcome: Outcome, scores: list[EpochScore], seconds: float) -> Outcome:
    """The outcome with what the epochs measured; an interrupted trial has no result."""
    if not scores or outcome.status == INTERRUPTED:
        return replace(outcome, seconds=seconds)
    last = scores[-1]
    speeds = [score.images_per_second for score in scores if score.batch_size == last.batch_size]
    return replace(
        outcome,
        val_accuracy=None if outcome.status == FAIL else last.val_accuracy,
        epochs=last.epoch,
        seconds=seconds,
        images_per_second=sum(speeds) / len(speeds),
        batch_size=last.batch_size,
        execution=last.execution,
    )
