"""What a search may train: within a person's limits, within what one trial may cost, and as quick as it must be."""

from __future__ import annotations

from dataclasses import dataclass, field

from optuna.trial import Trial

from nas.draws import Proposal
from nas.limits import Limits
from nas.meter import Stopwatch
from nas.study_limits import LATENCY_MS as LATENCY
from nas.trial_cost import Bound

LATENCY_OF = "latency_of"  # likewise: the digest of what was measured, and where
PATIENCE = 100  # networks that are measured for one decision: some spaces hold none that is quick
FAR = 1e6  # what is not measured is farther from the limits than anything that was


@dataclass(frozen=True)
class Admission:
    """Judges proposals: by `limits`, by the `bound` on one trial's cost, and by `stopwatch`, if they are given.

    What is counted comes first: only what keeps all of that is measured, and of that no more than `PATIENCE`.
    """

    limits: Limits
    bound: Bound | None = None
    stopwatch: Stopwatch | None = None
    _before: int = field(init=False)  # networks that the stopwatch had measured by then

    def __post_init__(self) -> None:
        object.__setattr__(self, "_before", 0 if self.stopwatch is None else self.stopwatch.measured)

    def over(self, proposal: Proposal) -> float:
        """How far the proposal is over what is allowed, at worst, as a share of it; at most 0 is allowed."""
        counted = self.limits.worst(proposal.cost)
        if self.bound is not None:
            counted = max(counted, self.bound.excess(proposal.cost))
        if self.stopwatch is None or self.limits.max_latency is None:
            return counted
        if counted > 0 or self._impatient(self.stopwatch, proposal):
            return FAR + counted
        return max(counted, self.stopwatch(proposal.architecture) / self.limits.max_latency - 1)

    def _impatient(self, stopwatch: Stopwatch, proposal: Proposal) -> bool:
        """Whether the proposal would have to be measured, after so many others."""
        return stopwatch.lacks(proposal.architecture) and stopwatch.measured - self._before >= PATIENCE

    def refusal(self, trial: Trial, proposal: Proposal) -> str | None:
        """Why the trial may not train the proposal, its constraints set; None where it may.

        Of a training that costs too much the constraint `time` is set; where there is none, it was within the bound.
        """
        for name, share in self.limits.excess(proposal.cost).items():
            trial.set_constraint(name, share)
        if self.limits.max_memory is not None:  # the other counts are noted of every trial that is trained
            trial.set_user_attr("memory", self.limits.amounts(proposal.cost)["memory"])
        if not self.limits.allow(proposal.cost):
            return f"over {self.limits}"
        if self.bound is not None and self.bound.excess(proposal.cost) > 0:
            trial.set_constraint("time", self.bound.excess(proposal.cost))
            return self.bound.violation(proposal.cost)
        return None if self.stopwatch is None else self._measured(self.stopwatch, trial, proposal)

    def _measured(self, stopwatch: Stopwatch, trial: Trial, proposal: Proposal) -> str | None:
        latency, most = stopwatch(proposal.architecture), self.limits.max_latency
        trial.set_user_attr(LATENCY, latency)
        trial.set_user_attr(LATENCY_OF, f"{proposal.architecture.digest} on {stopwatch.device}")
        if most is not None:
            trial.set_constraint("latency", latency / most - 1)
        return None if most is None or latency <= most else f"over {self.limits}"


def recall(stopwatch: Stopwatch, user_attrs: dict[str, object]) -> None:
    """Let the stopwatch know what a trial of an earlier run, or of another process, measured on the same device."""
    digest, _, device = str(user_attrs.get(LATENCY_OF, "")).partition(" on ")
    latency = user_attrs.get(LATENCY)
    if device == stopwatch.device and isinstance(latency, float):
        stopwatch.known.setdefault(digest, latency)
