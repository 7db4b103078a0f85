"""What a confirmation found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

from nas.confirming.chance import Lead, half_width, lead
from nas.confirming.contestants import Contestant
from studies import COMPLETE, ConfirmedTraining, Study

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Standing:
    """A network and its trainings, one a seed. `images` is the size of the validation split."""

    contestant: Contestant
    trainings: tuple[ConfirmedTraining, ...]
    images: int

    @property
    def scores(self) -> dict[int, float]:
        """Validation accuracy by seed, of the trainings that completed."""
        return {one.seed: one.val_accuracy for one in self.complete if one.val_accuracy is not None}

    @property
    def complete(self) -> list[ConfirmedTraining]:
        return [one for one in self.trainings if one.status == COMPLETE]

    @property
    def failed(self) -> list[ConfirmedTraining]:
        return [one for one in self.trainings if one.status != COMPLETE]

    @property
    def mean(self) -> float | None:
        """The mean validation accuracy; None where no training completed."""
        return fmean(self.scores.values()) if self.scores else None

    @property
    def half_width(self) -> float | None:
        """Half of the mean's 95 % interval over seeds; None for fewer than two."""
        return half_width(list(self.scores.values()), least=1 / self.images)

    @property
    def tests(self) -> list[float]:
        return [one.test_accuracy for one in self.complete if one.test_accuracy is not None]

    @property
    def test_mean(self) -> float | None:
        """The mean test accuracy over seeds; None where it was not measured."""
        return fmean(self.tests) if self.tests else None

    @property
    def test_half_width(self) -> float | None:
        return half_width(self.tests)

    @property
    def seconds(self) -> float:
        """Of all its trainings."""
        return sum(one.seconds or 0.0 for one in self.trainings)

    @property
    def best(self) -> ConfirmedTraining | None:
        """The training with the highest validation accuracy, of equal ones the first."""
        return max(self.complete, key=lambda one: one.val_accuracy or 0.0, default=None)

    def ahead_of(self, other: Standing) -> Lead:
        """How far it is ahead in validation accuracy, paired by seed."""
        return lead(self.scores, other.scores, self.images)


@dataclass(frozen=True)
class RandomSearch:
    """What finding the random baseline took: networks trained by the study's trial recipe, which seeds were not."""

    trained: int
    failed: int
    epochs: int
    seconds: float
    unchecked_limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Confirmation:
    """A study's leaders, trained anew, beside baselines of equal cost: `table()`, `winner`, `sure`.

    `macs` is the cost that the baselines were scaled to, the first leader's; `left_out` says of each baseline that is
    missing why.
    """

    study: Study
    asked: int
    seeds: int
    epochs: int
    macs: int
    validation_images: int
    test_images: int | None
    leaders: tuple[Standing, ...]
    baselines: tuple[Standing, ...]
    left_out: Mapping[str, str]
    random_search: RandomSearch | None

    @property
    def standings(self) -> tuple[Standing, ...]:
        return (*self.leaders, *self.baselines)

    @cached_property
    def ranked(self) -> tuple[Standing, ...]:
        """The leaders, the best first: by mean validation accuracy, of equal ones the cheaper.

        Those with a failed training stand behind those without, and last those of which none completed.
        """
        return tuple(
            sorted(
                self.leaders,
                key=lambda one: (-len(one.scores), -(one.mean or 0.0), one.contestant.cost.macs, one.contestant.name),
            )
        )

    @property
    def winner(self) -> Standing:
        """The leader with the highest mean validation accuracy."""
        return self.ranked[0]

    @property
    def lead(self) -> Lead | None:
        """How far the winner is ahead of the second leader; None where there is none with a score."""
        others = [one for one in self.ranked[1:] if one.scores]
        return self.winner.ahead_of(others[0]) if others else None

    @property
    def sure(self) -> bool:
        """Whether the winner is ahead of the second leader by more than chance, in pairs over seeds."""
        return self.lead is not None and self.lead.sure

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What `table()` shows, a mapping a network; None is what was not measured."""
        others = sorted(self.baselines, key=lambda one: -(one.mean or 0.0))
        return [_line(one, self.epochs, self.shows_test(one)) for one in (*self.ranked, *others)]

    def shows_test(self, one: Standing) -> bool:
        """Whether its test accuracy is reported: a leader's that lost is not, where an earlier run measured one."""
        return one is self.winner or one.contestant.role != "leader"

    def table(self) -> DataFrame:
        """A line a network, the winner first, then the other leaders, then the baselines, each by mean.

        Columns: role, name, trial, search_val_accuracy, val_accuracy and half_width of its 95 % interval over seeds,
        seeds, failed, params, macs, epochs, seconds, test_accuracy and test_half_width.
        """
        import pandas as pd

        frame = pd.DataFrame(self.lines)
        numbers = ["search_val_accuracy", "val_accuracy", "half_width", "test_accuracy", "test_half_width"]
        return frame.astype({"trial": "Int64", **dict.fromkeys(numbers, "float64")})


def _line(one: Standing, epochs: int, tested: bool) -> dict[str, Any]:
    who = one.contestant
    return {
        "role": who.role,
        "name": who.name,
        "trial": who.trial,
        "search_val_accuracy": who.search_val_accuracy,
        "val_accuracy": one.mean,
        "half_width": one.half_width,
        "seeds": len(one.scores),
        "failed": len(one.failed),
        "params": who.cost.params,
        "macs": who.cost.macs,
        "epochs": epochs,
        "seconds": one.seconds,
        "test_accuracy": one.test_mean if tested else None,
        "test_half_width": one.test_half_width if tested else None,
    }
