"""The trainings of a confirmation, one after the other: each is recorded once, and none is repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.confirming import kept
from nas.confirming.contestants import Contestant
from nas.confirming.result import Standing
from nas.confirming.training import Trainer
from nas.confirming.watch import Watch
from nas.errors import NasError, RunError, Unfinished
from nas.quantities import show_duration
from nas.training.device import versions
from nas.training.recipe import Recipe
from searchspace import Architecture
from studies import COMPLETE, FAIL, INTERRUPTED, ConfirmedTraining, StudyStore, confirmation_id


@dataclass(frozen=True)
class Job:
    """One training: a network, a recipe, a seed; `seconds` is what it is expected to take, None if unknown."""

    contestant: Contestant
    recipe: Recipe
    seed: int
    label: str
    seconds: float | None = None


@dataclass(eq=False)
class ConfirmationRun:
    """Trains jobs, or finds them recorded; keeps weights where they will be tested.

    `plan` holds all jobs of the confirmation, by which the time that is left is told. A training that failed is
    recorded and not repeated on the same device, where it would fail again.
    """

    store: StudyStore
    study_id: str
    trainer: Trainer
    origin: Mapping[str, Any]
    fingerprint: str
    device: str
    weights: Path
    watch: Watch
    stop: Callable[[], bool]
    plan: Sequence[Job] = ()
    number: int = 0
    spent: dict[str, float] = field(default_factory=lambda: {"expected": 0.0, "measured": 0.0})

    def recorded(self, job: Job) -> ConfirmedTraining | None:
        """What is known of a job that need not be trained; None where it must be."""
        found = self.store.confirmations.find(self._id(job))
        if found is None or found.status == COMPLETE:
            return found
        return found if found.status == FAIL and found.device == self.device else None

    def all(self, jobs: Sequence[Job], *, keep: bool) -> list[ConfirmedTraining]:
        """The ends of all jobs in their order; `keep` keeps the weights of those trained now.

        Raises:
            RunError: `stop()` was true; everything that ended is recorded.
        """
        return [self._one(job, keep) for job in jobs]

    def _one(self, job: Job, keep: bool) -> ConfirmedTraining:
        self.number += 1
        found = self.recorded(job)
        if found is not None:
            self.trainer.forget(job.contestant.architecture, job.recipe, job.seed)  # what a killed process left
            return found
        if self.stop():
            raise RunError(f"the confirmation was interrupted before training {self.number} of {len(self.plan)}")
        self.watch.begins(self.number, len(self.plan), job.label, job.recipe.epochs)
        found = self._trained(job, keep)
        self._account(job, found)
        self.watch.ended(f"{_ending(found)}{self._left()}")
        return found

    def _trained(self, job: Job, keep: bool) -> ConfirmedTraining:
        architecture = job.contestant.architecture
        training = self._start(job)
        try:
            done = self.trainer.train(architecture, job.recipe, job.seed)
        except RunError as error:
            if self.stop():
                self.store.confirmations.finish(training, INTERRUPTED)
                raise
            reason = str(error).removeprefix("the training failed: ")
            if isinstance(error, Unfinished):
                self.store.confirmations.finish(training, INTERRUPTED, reason=reason)
                return self._find(training)
            self.store.confirmations.finish(training, FAIL, reason=reason)
        else:
            known = self._find(training)
            if known.status != COMPLETE:  # else another confirmation was faster: the weights that are there are its own
                if keep:
                    kept.keep(self.weights, training, done.weights)
                self.store.confirmations.finish(
                    training, COMPLETE, val_accuracy=done.val_accuracy, epochs=done.epochs, seconds=done.seconds
                )
        self.trainer.forget(architecture, job.recipe, job.seed)
        return self._find(training)

    def _start(self, job: Job) -> str:
        who, counted = job.contestant, job.contestant.cost
        self.store.record_architecture(
            who.architecture.digest, who.architecture.to_json(), counted.params, counted.macs, counted.activations
        )
        return self.store.confirmations.start(
            study_id=self.study_id,
            digest=who.architecture.digest,
            role=who.role,
            name=who.name,
            trial_number=who.trial,
            seed=job.seed,
            recipe=self._recipe(job),
            fingerprint=self.fingerprint,
            device=self.device,
            versions=versions(),
        )

    def _recipe(self, job: Job) -> dict[str, Any]:
        return {"training": job.recipe.model_dump(), "data": dict(self.origin)}

    def _id(self, job: Job) -> str:
        digest = job.contestant.architecture.digest
        return confirmation_id(self.study_id, digest, self._recipe(job), job.seed, self.fingerprint)

    def _find(self, training: str) -> ConfirmedTraining:
        found = self.store.confirmations.find(training)
        if found is None:
            raise RunError("the study's confirmation was deleted meanwhile")
        return found

    def _account(self, job: Job, found: ConfirmedTraining) -> None:
        if job.seconds is not None and found.seconds is not None:
            self.spent["expected"] += job.seconds
            self.spent["measured"] += found.seconds

    def _left(self) -> str:
        """In words, by what was expected and how far that was off so far."""
        waiting = [job.seconds for job in self.plan if self.recorded(job) is None]
        known = [seconds for seconds in waiting if seconds is not None]
        if not known or len(known) < len(waiting):
            return ""
        off = self.spent["measured"] / self.spent["expected"] if self.spent["expected"] else 1.0
        return f"; about {show_duration(sum(known) * off)} left"

    def tested(self, standing: Standing) -> Standing:
        """The standing with the test accuracy of each training; each is measured once, ever."""
        for training in standing.complete:
            if training.test_accuracy is None:
                self._test(training, standing.contestant.architecture)
        return Standing(standing.contestant, tuple(self._find(one.id) for one in standing.trainings), standing.images)

    def _test(self, training: ConfirmedTraining, architecture: Architecture) -> None:
        try:
            weights = kept.read(self.weights, training.id, architecture)
        except NasError as error:
            self.watch.note(f"{training.name} is not tested with seed {training.seed}: {error}")
            return
        measured = self.trainer.test(architecture, weights)
        if measured is not None:
            self.store.confirmations.record_test(training.id, measured)

    def name_winner(self, winner: Standing, others: Sequence[Standing]) -> None:
        """Name the best of the winner's trainings whose weights are there; drop those of the published baselines.

        A network of the study's space keeps all of its own: a later confirmation may have other seeds, and other
        leaders, of which what was drawn at random now may be one.
        """
        who = winner.contestant
        best = max(
            winner.complete, key=lambda one: (kept.has(self.weights, one.id), one.val_accuracy or 0.0), default=None
        )
        assert best is not None
        if not kept.has(self.weights, best.id):
            self.watch.note(f"no weights of {who.name} are kept: nas export --trial {who.trial} trains it anew")
        self.store.confirmations.choose(best.id, who.trial)
        mine = {one.id for one in winner.trainings}
        own = {one.id for each in others if each.contestant.role != "baseline" for one in each.trainings}
        published = {one.id for each in others if each.contestant.role == "baseline" for one in each.trainings}
        for training_id in published - own - mine:
            kept.forget(self.weights, training_id)


def _ending(found: ConfirmedTraining) -> str:
    if found.status != COMPLETE or found.val_accuracy is None:
        return f"failed: {found.reason}"
    return f"validation accuracy {found.val_accuracy:.2%} in {show_duration(found.seconds or 0.0)}"
