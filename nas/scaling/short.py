"""Trainings that scaled networks are compared by: each is kept in the database when it ends, and none is repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from nas.errors import RunError
from nas.evaluate import Evaluate, TrainingFailed, guarded
from nas.quantities import show_duration
from nas.training.recipe import Recipe
from nas.training.score import Diverged, EpochScore, Stopped
from nas.training.seeds import derive_seed
from nas.training.trial import OutOfMemory
from searchspace import Architecture, Cost
from searchspace import cost as count_cost
from studies import Scalings, ScalingTraining, StudyStore

Say = Callable[[str], None]
Forecast = Callable[[Architecture, Cost, Recipe], float | None]
"""Seconds that a training takes, measured in a moment; None where nobody knows."""


@dataclass(frozen=True)
class Job:
    """A network to be trained, under the name of what made it."""

    name: str
    architecture: Architecture
    cost: Cost

    def activations(self, seeds: int) -> int:
        """What the time of so many trainings is taken to grow with."""
        return seeds * max(1, self.cost.activations)


@dataclass(frozen=True)
class Outcome:
    """The accuracies of a network's trainings, in the order of seeds; or why a training of it failed."""

    scores: tuple[float, ...]
    failure: str = ""


@dataclass
class ShortTrainings:
    """Trains networks made of `start` by one recipe on one set of images; `seed` is what the trainings' derive from."""

    store: StudyStore
    start: Architecture
    recipe: Recipe
    seed: int
    fingerprint: str
    device: str
    evaluate: Evaluate
    forecast: Forecast = lambda architecture, cost, recipe: None
    say: Say = lambda text: None
    stop: Callable[[], bool] = lambda: False
    trained: int = 0
    _pace: list[tuple[float, int]] = field(default_factory=list)  # seconds and activations of the trainings that ended

    def measure(self, jobs: Sequence[Job], seeds: int) -> dict[str, Outcome]:
        """Train each network from each seed, all from the first one first, so that an early end leaves them alike.

        A network whose training diverges or runs out of memory is not trained from further seeds.

        Raises:
            RunError: it was stopped; all trainings that ended are kept.
        """
        known = {(job.name, seed): self._known(job, seed) for seed in range(seeds) for job in jobs}
        waiting = [job for seed in range(seeds) for job in jobs if known[job.name, seed] is None]
        self._announce(waiting, len(known))
        failures: dict[str, str] = {}
        for seed in range(seeds):
            for job in jobs:
                if known[job.name, seed] is None and job.name not in failures:
                    waiting.remove(job)
                    found = self._known(job, seed)  # another job's network may have been the same
                    found = self._train(job, seed, seeds, waiting) if found is None else found
                    if isinstance(found, str):
                        failures[job.name] = found
                        waiting = [each for each in waiting if each.name != job.name]
                    else:
                        known[job.name, seed] = found
        return {job.name: self._outcome(job, known, seeds, failures) for job in jobs}

    def _outcome(
        self, job: Job, known: dict[tuple[str, int], float | None], seeds: int, failures: dict[str, str]
    ) -> Outcome:
        scores = (known[job.name, seed] for seed in range(seeds))
        return Outcome(tuple(score for score in scores if score is not None), failures.get(job.name, ""))

    def _key(self, job: Job, seed: int) -> ScalingTraining:
        return ScalingTraining(
            start_digest=self.start.digest,
            digest=job.architecture.digest,
            recipe=self.recipe.model_dump(),
            seed=derive_seed(self.seed, "scale", seed),
            fingerprint=self.fingerprint,
        )

    def _known(self, job: Job, seed: int) -> float | None:
        return Scalings(self.store).accuracy(self._key(job, seed))

    def _announce(self, waiting: Sequence[Job], count: int) -> None:
        epochs = self.recipe.epochs
        if not waiting:
            self.say(f"all {count} trainings of {epochs} epochs are in the database: nothing is trained")
            return
        first = waiting[0]
        if not self._pace and (seconds := self.forecast(first.architecture, first.cost, self.recipe)) is not None:
            self._pace.append((seconds, first.activations(1)))
        known = f" ({count - len(waiting)} more are in the database)" if len(waiting) < count else ""
        plural = "training" if len(waiting) == 1 else "trainings"
        self.say(f"{len(waiting)} {plural} of {epochs} epochs{known}: {self._time_for(waiting)}")

    def _time_for(self, waiting: Iterable[Job]) -> str:
        if not self._pace:
            return "how long is known after the first"
        seconds, activations = (sum(column) for column in zip(*self._pace, strict=True))
        return f"about {show_duration(seconds / activations * sum(job.activations(1) for job in waiting))}"

    def _train(self, job: Job, seed: int, seeds: int, waiting: Sequence[Job]) -> float | str:
        """The accuracy that the training ended with, recorded; or why it failed."""
        label = f"{job.name}, seed {seed + 1} of {seeds}" if seeds > 1 else job.name
        key, started = self._key(job, seed), time.monotonic()
        try:
            last = self._last_score(job.architecture, key.seed)
        except Stopped:
            kept = f"{self.trained} trainings of this run are in the database, the same command goes on after them"
            raise RunError(f"the training of {label} was interrupted; {kept}") from None
        except (Diverged, OutOfMemory, TrainingFailed) as error:
            self.say(f"{label}: failed: {error}")
            return str(error)
        seconds = time.monotonic() - started
        self._record(key, job, last, seconds)
        if not self.trained:
            self._pace.clear()  # a whole training tells more than a few steps
        self._pace.append((seconds, job.activations(1)))
        self.trained += 1
        left = f"; {len(waiting)} left, {self._time_for(waiting)}" if waiting else ""
        self.say(f"{label}: {last.val_accuracy:.2%} in {show_duration(seconds)}{left}")
        return last.val_accuracy

    def _last_score(self, architecture: Architecture, seed: int) -> EpochScore:
        last = None
        for score in guarded(partial(self.evaluate, architecture, seed=seed, stop=self.stop)):
            last = score or last
        if last is None:
            raise TrainingFailed("it gave no score")
        return last

    def _record(self, key: ScalingTraining, job: Job, last: EpochScore, seconds: float) -> None:
        for architecture in (self.start, job.architecture):
            counted = count_cost(architecture)
            counts = (counted.params, counted.macs, counted.activations)
            self.store.record_architecture(architecture.digest, architecture.to_json(), *counts)
        Scalings(self.store).record(
            key,
            direction=job.name,
            epochs=self.recipe.epochs,
            val_accuracy=last.val_accuracy,
            seconds=seconds,
            device=self.device,
        )
