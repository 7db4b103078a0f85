"""The order of a confirmation: rank the drawn networks, train all by one recipe, choose by validation, then test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.confirming.contestants import RANDOM, Contestant, leader
from nas.confirming.field import Field
from nas.confirming.result import Confirmation, RandomSearch, Standing
from nas.confirming.run import ConfirmationRun, Job
from nas.confirming.words import outlook
from nas.errors import RunError
from nas.result import SearchResult
from nas.training.data import Dataset
from nas.training.recipe import YOUNGER, Recipe, final_recipe, make_recipe
from nas.training.seeds import derive_seed
from studies import COMPLETE, ConfirmedTraining


@dataclass(frozen=True)
class Finish:
    """A confirmation with everything that it needs."""

    run: ConfirmationRun
    field: Field
    result: SearchResult
    top: int
    seeds: int
    epochs: int | None
    data: Dataset
    test_images: int | None

    def confirmation(self) -> Confirmation:
        leaders = [leader(trial) for trial in self.field.trials]
        jobs = [job for seed in self._seeds for job in self._jobs([*leaders, *self.field.published], seed)]
        trials = [self._job(one, self._trial_recipe, self._trial_seed, "trial recipe") for one in self.field.drawn]
        self._foretell(jobs, trials)
        chosen, search = self._best_drawn(trials)
        contestants = [*leaders, *self.field.published, *chosen]
        jobs = [job for seed in self._seeds for job in self._jobs(contestants, seed)]
        self.run.plan = [*trials, *jobs]
        ends = self.run.all(jobs, keep=True)
        standings = tuple(self._standing(one, jobs, ends) for one in contestants)
        return self._tested(standings, search)

    def _tested(self, standings: tuple[Standing, ...], search: RandomSearch | None) -> Confirmation:
        found = self._summary(standings, search)
        if not found.winner.scores:
            reason = next((one.reason for each in found.leaders for one in each.failed), None)
            raise RunError(f"no training of a leader completed: {reason}")
        winner = found.winner.contestant
        tested = {
            one.contestant: self.run.tested(one)
            for one in standings
            if one.contestant is winner or one.contestant.role != "leader"
        }
        self.run.name_winner(tested[winner], [one for one in standings if one.contestant is not winner])
        return self._summary(tuple(tested.get(one.contestant, one) for one in standings), search)

    def _summary(self, standings: tuple[Standing, ...], search: RandomSearch | None) -> Confirmation:
        return Confirmation(
            study=self.result.study,
            asked=self.top,
            seeds=self.seeds,
            epochs=self._recipe.epochs,
            macs=self.field.macs,
            validation_images=len(self.data.validation),
            test_images=self.test_images,
            leaders=tuple(one for one in standings if one.contestant.role == "leader"),
            baselines=tuple(one for one in standings if one.contestant.role != "leader"),
            left_out=self.field.left_out,
            random_search=search,
        )

    def _best_drawn(self, jobs: list[Job]) -> tuple[list[Contestant], RandomSearch | None]:
        """The best of the drawn networks by the trial recipe, and what that took."""
        if not jobs:
            return [], None
        ends = self.run.all(jobs, keep=False)
        scored = _by_accuracy(ends)
        if not scored:
            self.field.left_out[RANDOM] = f"no drawn network could be trained: {ends[0].reason}"
        seconds = sum(end.seconds or 0.0 for end in ends)
        search = RandomSearch(
            len(ends), len(ends) - len(scored), self._trial_recipe.epochs, seconds, self.field.unchecked
        )
        return [jobs[scored[0]].contestant] if scored else [], search

    def _standing(self, who: Contestant, jobs: list[Job], ends: Sequence[ConfirmedTraining]) -> Standing:
        mine = tuple(end for job, end in zip(jobs, ends, strict=True) if job.contestant is who)
        return Standing(who, mine, len(self.data.validation))

    def _foretell(self, jobs: list[Job], trials: list[Job]) -> None:
        """Say what will be trained and how long that takes, before any of it."""
        ranked = _by_accuracy([self.run.recorded(job) for job in trials])
        likely = [trials[(ranked or [0])[0]].contestant] if trials else []
        drawn = [self._job(one, self._recipe, seed, "") for one in likely for seed in self._seeds]
        planned = [*trials, *jobs, *drawn]
        self.run.plan = planned
        waiting = [job for job in planned if self.run.recorded(job) is None]
        for line in outlook(self.field.trials, self.top, self.field.left_out, planned, waiting):
            self.run.watch.note(line)

    def _jobs(self, contestants: Sequence[Contestant], seed: int) -> list[Job]:
        number = self._seeds.index(seed) + 1
        return [self._job(one, self._recipe, seed, f"seed {number}/{self.seeds}") for one in contestants]

    def _job(self, who: Contestant, recipe: Recipe, seed: int, how: str) -> Job:
        trial = next((trial for trial in self.field.trials if trial.number == who.trial), self.field.trials[0])
        evaluation = trial.evaluation  # what costs as much takes as long, about
        known = evaluation.seconds is not None and evaluation.epochs > 0
        seconds = (evaluation.seconds or 0.0) / evaluation.epochs * recipe.epochs if known else None
        return Job(who, recipe, seed, f"{who.name}, {how}", seconds)

    @property
    def _trial_recipe(self) -> Recipe:
        """The study's, without the shorter trainings by which a search parts with networks early."""
        settings = YOUNGER | self.field.trials[0].evaluation.recipe["training"]
        return make_recipe(**{name: value for name, value in settings.items() if name != "rungs"})

    @property
    def _recipe(self) -> Recipe:
        return final_recipe(self._trial_recipe, self.epochs)

    @property
    def _seeds(self) -> list[int]:
        """The same for every network, so that they compare in pairs; the search used none of them."""
        return [derive_seed(self._first_seed, "confirm", number) for number in range(self.seeds)]

    @property
    def _trial_seed(self) -> int:
        return derive_seed(self._first_seed, "confirm", "trial")

    @property
    def _first_seed(self) -> int:
        return int(self.result.study.settings["seed"])


def _by_accuracy(ends: Sequence[ConfirmedTraining | None]) -> list[int]:
    """The places of the complete trainings, the most accurate first."""
    scores = {
        place: end.val_accuracy
        for place, end in enumerate(ends)
        if end is not None and end.status == COMPLETE and end.val_accuracy is not None
    }
    return sorted(scores, key=lambda place: (-scores[place], place))
