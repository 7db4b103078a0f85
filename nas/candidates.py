"""What to train next: the sampler's suggestion, unless it is too large or known; then another one that is neither."""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.admission import Admission, recall
from nas.draws import TRIES, Proposal, descent, draws, propose
from nas.errors import NasError
from nas.interruption import INTERRUPTION, REASON, was_interrupted
from nas.limits import Limits, describe_amount
from nas.meter import Stopwatch
from nas.one_commit import one_commit
from nas.pool import SCORES
from nas.samplers import make_sampler
from nas.starts import Start
from nas.training.seeds import derive_seed
from nas.trial_cost import Bound
from searchspace import ArchitectureError, SpaceError, cost
from searchspace.space import SearchSpace, Task

REDRAWS = 3  # suggestions in a row that may be refused before one is drawn without the sampler
DIGEST = "digest"  # the architecture that a trial was accepted to train
ORIGIN = "start_from"  # what a person named, where no sampler suggested the architecture
QUEUED = "fixed_params"  # Optuna trial's system attribute: the choices that it took from the queue
DUPLICATE = "duplicate of an architecture already trained"


class Exhausted(Exception):
    """No architecture was found that fits the limits and has not been trained."""


@dataclass(frozen=True)
class Candidate:
    """A proposal within the limits that an Optuna trial stands for, and its latency, where that was measured."""

    trial: Trial
    proposal: Proposal
    latency_ms: float | None = None


@dataclass(frozen=True)
class Candidates:
    """Asks a study for architectures worth a training.

    First come those of `starts` that nobody trained, in their order, then choices that were enqueued, those of
    interrupted trials before the others, then the sampler's, all of them judged alike.

    A suggestion over a limit is told PRUNED with its constraint set, so that samplers and the dashboard see it
    infeasible; one already trained, or that cannot be built, is told FAIL, which samplers pass by. Neither counts
    towards the budget. `bound` tells what one trial may cost now, from which `starts` are exempt: a person asked for
    them. `stopwatch` measures latencies; without one none is known.
    """

    study: optuna.Study
    space: SearchSpace
    task: Task
    limits: Limits
    sampler: str
    seed: int
    starts: tuple[Start, ...] = ()
    bound: Callable[[], Bound | None] = lambda: None
    stopwatch: Stopwatch | None = None

    def next(self, slot_no: int, stop: Callable[[], bool] = lambda: False) -> Candidate | None:
        """Ask until a suggestion for a slot of the budget is new and within the limits; None once `stop()` is true.

        Seeds come from the slot and the number of the suggestion for it, so that a slot whose trial was interrupted
        gets the same suggestions again, and two workers never get the same ones.

        Raises:
            Exhausted: not even draws without the sampler brought one.
        """
        known = self._known()
        admission = self._admission()
        for start in self.starts:
            if stop():
                return None
            if start.digest not in known:
                trial = self._make(derive_seed(self.seed, "start", slot_no), {}, {})
                candidate = self._candidate(trial, partial(self._begin, start, replace(admission, bound=None)))
                if candidate is not None:
                    return candidate
        for number in itertools.count():
            if stop():
                return None
            seed = derive_seed(self.seed, "sampler", slot_no, number)
            if number % (REDRAWS + 1) == REDRAWS:
                known = self._known()  # another process may have taken the last ones
                rng = random.Random(derive_seed(self.seed, "redraw", slot_no, number))
                drawn = self._draw(known, admission, rng, stop)
                if drawn is None:
                    return None
                trial = self._make(seed, drawn.choices, {})
            elif (lost := self._interrupted_choice()) is not None:
                noted = {name: lost.user_attrs[name] for name in (ORIGIN, *SCORES) if name in lost.user_attrs}
                trial = self._make(seed, lost.system_attrs[QUEUED], noted)
            else:
                trial = self._ask(seed)
            candidate = self._candidate(trial, partial(self._judge, known, admission))
            if candidate is not None:
                return candidate
        raise AssertionError

    def _candidate(self, trial: Trial, judge: Callable[[Trial], Proposal | None]) -> Candidate | None:
        """The trial with what it stands for; None if it was refused. An error leaves it interrupted."""
        try:
            proposal = judge(trial)
        except BaseException:
            self._refuse(trial, TrialState.FAIL, INTERRUPTION)
            raise
        if proposal is None:
            return None
        measured = {} if self.stopwatch is None else self.stopwatch.known
        return Candidate(trial, proposal, measured.get(proposal.architecture.digest))

    def _admission(self) -> Admission:
        """What may be trained now, by what this study has trained and measured."""
        if self.stopwatch is not None:
            for trial in self.study.get_trials(deepcopy=False):
                recall(self.stopwatch, trial.user_attrs)
        return Admission(self.limits, self.bound(), self.stopwatch)

    def _begin(self, start: Start, admission: Admission, trial: Trial) -> Proposal | None:
        """What a person named, in a trial without parameters."""
        trial.set_user_attr(ORIGIN, start.name)
        return self._admit(trial, start.proposal, admission)

    def _ask(self, seed: int) -> Trial:
        self.study.sampler = make_sampler(self.sampler, seed, self._counts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self.study.ask()

    def _counts(self, choices: Mapping[str, Any]) -> Mapping[str, float]:
        """What a network costs, under the names of its trial's user attributes; nothing of one that cannot be built."""
        try:
            return asdict(cost(self.space.decode(choices, self.task)))
        except (ArchitectureError, SpaceError):
            return {}

    def _make(self, seed: int, choices: Mapping[str, Any], noted: Mapping[str, Any]) -> Trial:
        """A trial of these choices, with user attributes, that takes nothing from the queue of those for later."""
        self.study.sampler = make_sampler(self.sampler, seed)
        system = {QUEUED: dict(choices)} if choices else {}
        template = create_trial(state=TrialState.RUNNING, user_attrs=dict(noted), system_attrs=system)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return Trial(self.study, self.study._storage.create_new_trial(self.study._study_id, template))

    def _interrupted_choice(self) -> FrozenTrial | None:
        """The first trial of enqueued choices that was interrupted, and that no other trial of them has followed.

        A duplicate that was refused has followed only a trial whose network is not known: where it is, that tells
        whether somebody trains it, since of processes that take up the same choices at once each may refuse the other.
        """
        newest: dict[str, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False):
            if QUEUED in trial.system_attrs:
                choices = repr(trial.system_attrs[QUEUED])
                named = choices in newest and DIGEST in newest[choices].user_attrs
                if not (named and trial.user_attrs.get(REASON) == DUPLICATE):
                    newest[choices] = trial
        known = self._known()
        lost = (trial for trial in newest.values() if was_interrupted(trial))
        return next((trial for trial in lost if trial.user_attrs.get(DIGEST) not in known), None)

    def _judge(self, known: set[str], admission: Admission, trial: Trial) -> Proposal | None:
        """The trial's proposal, or None if it was refused, and told so."""
        with one_commit(trial.storage):
            choices: Mapping[str, Any] = self.space.choose(trial)
        try:
            proposal = propose(self.space, self.task, choices, known.__contains__)
        except ArchitectureError as error:
            return self._refuse(trial, TrialState.FAIL, f"cannot be built: {error}")
        if proposal is None:
            return self._refuse(trial, TrialState.FAIL, DUPLICATE)
        return self._admit(trial, proposal, admission)

    def _admit(self, trial: Trial, proposal: Proposal, admission: Admission) -> Proposal | None:
        """The proposal, unless it is over a limit, or somebody else chose it at the same time."""
        reason = admission.refusal(trial, proposal)
        if reason is not None:
            trial.set_user_attr("feasible", False)
            return self._refuse(trial, TrialState.PRUNED, reason)
        # Said first and looked up after: of two processes that choose the same at once, one sees the other, or both do.
        trial.set_user_attr(DIGEST, proposal.architecture.digest)
        if proposal.architecture.digest in self._known(but=trial):
            return self._refuse(trial, TrialState.FAIL, DUPLICATE)
        return proposal

    def _known(self, but: Trial | None = None) -> set[str]:
        """The architectures that were trained to an end, or that somebody trains now."""
        return {
            trial.user_attrs[DIGEST]
            for trial in self.study.get_trials(deepcopy=False)
            if DIGEST in trial.user_attrs
            and not was_interrupted(trial)
            and not (trial.state == TrialState.FAIL and trial.user_attrs.get(REASON) == DUPLICATE)
            and not (but is not None and trial._trial_id == but._trial_id)
        }

    def _refuse(self, trial: Trial, state: TrialState, reason: str) -> None:
        with suppress(UpdateFinishedTrialError):  # another process took this one for dead, and has ended the trial
            trial.set_user_attr(REASON, reason)
            self.study.tell(trial, state=state)

    def _draw(
        self, known: set[str], admission: Admission, rng: random.Random, stop: Callable[[], bool]
    ) -> Proposal | None:
        costly = False
        for proposal in draws(self.space, self.task, self.limits, known.__contains__, rng, admission.over):
            if stop():
                return None
            if admission.over(proposal) <= 0:
                return proposal
            costly = costly or self.limits.allow(proposal.cost)
        kept = [str(self.limits)] if self.limits else []
        kept += [f"the {admission.bound} that one trial may take"] if costly and admission.bound is not None else []
        keeps = f" and keeps {' and '.join(kept)}" if kept else ""
        raise Exhausted(f"space {self.space.name!r} has no other architecture that can be found{keeps}")

    def require_feasible(self) -> None:
        """Make sure that something fits the limits, and all of `starts` do, before anything is recorded.

        Raises:
            NasError: nothing found fits; it names the smallest found. Or a start is over the limit of latency.
        """
        admission = Admission(self.limits, None, self.stopwatch)
        for start in self.starts:
            if admission.over(start.proposal) > 0:
                raise NasError(f"cannot start from {start.name!r}: {self._amounts(start.proposal)}, over {self.limits}")
        if not self.limits:
            return
        smallest: Proposal | None = None
        for proposal in self._ever_smaller(admission):
            if admission.over(proposal) <= 0:
                return
            if smallest is None or admission.over(proposal) < admission.over(smallest):
                smallest = proposal
        if smallest is None:
            raise NasError(f"no architecture of space {self.space.name!r} can be built for {self.task}")
        raise NasError(
            f"no architecture of space {self.space.name!r} keeps {self.limits}: the smallest found has "
            f"{smallest.cost.params:,} params ({self._amounts(smallest)})"
        )

    def _ever_smaller(self, admission: Admission) -> Iterator[Proposal]:
        """All of a small space, else a descent to the limits."""
        rng = random.Random(derive_seed(self.seed, "feasible"))
        if self.space.size <= TRIES:
            return draws(self.space, self.task, self.limits, lambda digest: False, rng, admission.over)
        return descent(self.space, self.task, self.limits, rng, admission.over)

    def _amounts(self, proposal: Proposal) -> str:
        """What a proposal takes of what is limited, and the counts that everybody knows."""
        amounts: dict[str, float] = dict(self.limits.amounts(proposal.cost))
        if self.stopwatch is not None and proposal.architecture.digest in self.stopwatch.known:
            amounts["latency"] = self.stopwatch.known[proposal.architecture.digest]
        shown = [name for name in amounts if name in ("params", "macs", *self.limits.given)]
        return ", ".join(describe_amount(name, amounts[name]) for name in shown)
