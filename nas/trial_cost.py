"""What one trial's training may cost, so that none eats the budget."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from nas.draws import descent
from nas.foresight.survey import FEW, survey
from nas.limits import Limits
from nas.quantities import show_duration
from nas.training.seeds import derive_seed
from nas.training.timing import Timing, fit
from searchspace import Cost
from searchspace.space import SearchSpace, Task
from studies import Duration

TIMES = 10.0
"""The median training of the space this often is the most that one may cost. Of 300 random networks of the spaces
tiny, cifar (32 pixels) and mobile (64), the dearest costs 2.8, 5.2 and 4.2 times the median, the cheapest about a
quarter: so nothing ordinary is refused, but what a sampler finds at the end of a space, or a space of one's own with
giants in it."""
SHARES = 5
"""Of the time that is given, one full training may take this part: five are the fewest from which a search learns more
than from one, and a trial that the deadline ends has wasted no more than that."""
MEASURED = 5  # trained trials from which on the study's own seconds tell what a training takes
RECENT = 100  # of them, the last ones
SAMPLE = 40  # networks whose median is the space's


@dataclass(frozen=True)
class Bound:
    """The most that one full training may cost, in what `predict` tells: seconds, or times the median of the space."""

    predict: Callable[[Cost], float]
    most: float
    in_seconds: bool

    def excess(self, cost: Cost) -> float:
        """How far over the bound a training of this cost is, as a share of it; at most 0 is allowed."""
        return self.predict(cost) / self.most - 1

    def __str__(self) -> str:
        if self.in_seconds:
            return f"{show_duration(self.most)} of training"
        return f"{self.most:.0f} times the training of the median of the space"

    def violation(self, cost: Cost) -> str:
        """What is too much, in words."""
        found = self.predict(cost)
        amount = f"about {show_duration(found)}" if self.in_seconds else f"about {found:.1f} times"
        return f"{amount}, over the {self} that one trial may take"


@dataclass(frozen=True)
class TrialCost:
    """Tells what one training of `epochs` epochs may cost in a space, within limits, and in `seconds` given for all.

    Before a study has trained `MEASURED` trials, a network costs the mean of its MACs and its activations, each as a
    share of the median of the space; at most `TIMES` of that are allowed. Then the seconds of the study's last trials
    tell what a training takes, as a sum over MACs and activations (`nas.training.timing.fit`); at most `TIMES` the
    median are allowed, and at most a part of `seconds` (`SHARES`). Where so little time is given that even a cheap
    network takes more than that, the cheapest quarter of the space is let through, rather than nothing.

    It depends on the study's trials and what is given here alone, whichever process asks.
    """

    space: SearchSpace
    task: Task
    limits: Limits
    epochs: int
    seconds: float | None = None

    @cached_property
    def sample(self) -> tuple[Cost, ...]:
        """Costs of networks of the space within the limits, the same for every seed and process."""
        rng = random.Random(derive_seed(0, "typical"))
        seen = survey(self.space, self.task, Limits(), rng, most=SAMPLE, seconds=math.inf)
        fitting = [proposal.cost for proposal in seen.sample if self.limits.allow(proposal.cost)]
        if len(fitting) < FEW:
            near = (proposal.cost for proposal in descent(self.space, self.task, self.limits, rng))
            fitting += [cost for cost in near if self.limits.allow(cost)][:1]
        return tuple(fitting) or tuple(proposal.cost for proposal in seen.sample)

    def bound(self, trained: Sequence[Duration]) -> Bound | None:
        """The bound that a study's trained trials give; None where nothing is known of the space."""
        if not self.sample:
            return None
        if len(trained) < MEASURED:
            return Bound(self._relative, TIMES, in_seconds=False)
        model = fit([_timing(each) for each in trained[-RECENT:]])

        def predict(cost: Cost) -> float:
            return model.trial(cost, self.epochs)

        typical = sorted(map(predict, self.sample))
        most = TIMES * statistics.median(typical)
        if self.seconds is not None:
            most = min(most, max(self.seconds / SHARES, typical[(len(typical) - 1) // 4]))
        return Bound(predict, most, in_seconds=True)

    @cached_property
    def _medians(self) -> tuple[float, float]:
        return (
            statistics.median(cost.macs for cost in self.sample),
            statistics.median(cost.activations for cost in self.sample),
        )

    def _relative(self, cost: Cost) -> float:
        macs, activations = self._medians
        return (cost.macs / macs + cost.activations / activations) / 2


def _timing(duration: Duration) -> Timing:
    """All but its fastest epoch's pace is set-up: a first epoch compiles, captures and fills caches."""
    cost = Cost(duration.params, duration.macs, duration.activations)
    setup = max(0.0, duration.seconds - duration.epochs * duration.epoch_seconds)
    return Timing(cost, setup, duration.epoch_seconds, "")
