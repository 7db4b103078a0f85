"""The networks of a family, trained and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nas.evaluate import Evaluate
from nas.scaling.records import Family, FamilyMember

if TYPE_CHECKING:
    from nas.scaling.ground import Ground
    from nas.scaling.short import Outcome, Say


def train_family(
    family: Family,
    ground: Ground,
    evaluate: Evaluate | None = None,
    say: Say = lambda text: None,
    stop: Callable[[], bool] = lambda: False,
) -> Family:
    """The family with the validation accuracy that a trial's training of each member reaches, from one seed.

    `ground` is the images and recipe (`nas.scaling.ground.find_ground`). Trainings are kept, and none is repeated.

    Raises:
        RunError: stopped; all trainings that ended are kept.
    """
    from nas.scaling.short import Job

    trainings = ground.trainings(ground.trial_recipe(), evaluate, say, stop)
    jobs = [Job(f"phi {each.phi:g}", each.architecture, each.cost) for each in family.members]
    found = trainings.measure(jobs, 1)
    members = [_with(each, found[job.name]) for each, job in zip(family.members, jobs, strict=True)]
    return replace(family, members=tuple(members))


def _with(member: FamilyMember, outcome: Outcome) -> FamilyMember:
    if outcome.failure:
        return replace(member, failure=outcome.failure)
    return replace(member, val_accuracy=outcome.scores[0])
