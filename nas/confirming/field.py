"""Who takes part in a confirmation, and who does not, and why."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from nas.confirming.contestants import RANDOM, Contestant, published
from nas.confirming.randoms import draw_near, limits_of
from nas.errors import NasError
from nas.result import SearchResult, TrialResult
from nas.training.data import Dataset
from nas.training.recipe import YOUNGER
from nas.training.seeds import derive_seed
from searchspace import SpaceError
from searchspace.space import Task
from searchspace.spaces import find_space


@dataclass(frozen=True)
class Field:
    """Who takes part: leaders, published baselines, networks drawn for the random one; who does not, and why."""

    trials: list[TrialResult]
    published: list[Contestant]
    drawn: list[Contestant]
    left_out: dict[str, str]
    unchecked: tuple[str, ...]

    @property
    def macs(self) -> int:
        return self.trials[0].cost.macs


def assemble(
    result: SearchResult, trials: list[TrialResult], data: Dataset, names: Sequence[str], *, explicit: bool
) -> Field:
    """Everybody, before anything is trained; `explicit` baselines were named by a person, who is told if none suits.

    Raises:
        NasError: none does.
    """
    macs = trials[0].cost.macs
    found, left_out = published([name for name in names if name != RANDOM], data, macs)
    drawn: list[Contestant] = []
    unchecked: tuple[str, ...] = ()
    if RANDOM in names:
        try:
            drawn, unchecked = _drawn(result, trials[0], data)
        except (NasError, SpaceError) as error:
            left_out[RANDOM] = str(error)
    if explicit and names and not found and not drawn:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise NasError(f"no baseline suits these images at this cost ({reasons}); choose others, or --baselines none")
    return Field(trials, found, drawn, left_out, unchecked)


def _drawn(result: SearchResult, first: TrialResult, data: Dataset) -> tuple[list[Contestant], tuple[str, ...]]:
    settings = result.study.settings
    space = find_space(settings["space"])
    if space.digest != settings["space_digest"]:
        raise NasError(f"space {space.name!r} has changed since the search")
    training = YOUNGER | first.evaluation.recipe["training"]
    limits, unchecked = limits_of(result.store, result.study, training["batch_size"], training["optimizer"])
    task = Task(channels=data.channels, resolution=data.resolution, classes=len(data.classes))
    rng = random.Random(derive_seed(settings["seed"], "confirm", "draw"))
    found = draw_near(space, task, limits, first.cost.macs, rng)
    if not found:
        raise NasError(f"no network of space {space.name!r} was drawn within 15 % of {first.cost.macs:,} MACs")
    contestants = [
        Contestant("random", f"random {number}", one.architecture, one.cost) for number, one in enumerate(found, 1)
    ]
    return contestants, unchecked
