"""What a search space holds within the limits: an even draw of it, or all of it where it is small."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nas.draws import Proposal, draws, every, propose
from nas.limits import Limits
from searchspace import ArchitectureError, Cost
from searchspace.space import SearchSpace, Task

LEAST = 20  # draws, however long they take
FEW = 3  # networks that fit: of fewer nothing is known of the space within the limits
ENOUGH = 10  # networks that fit, where they are looked for because chance brought few


@dataclass(frozen=True)
class Spread:
    """The smallest, the median and the largest of a sample."""

    smallest: float
    median: float
    largest: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.smallest, self.median, self.largest))

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values))


@dataclass(frozen=True)
class Survey:
    """`drawn` networks of a space, all of it where `exact`; `fitting` of them keep the limits.

    `sample` are those, and what was found by going towards the limits where chance brought few.
    """

    size: int
    drawn: int
    fitting: int
    exact: bool
    sample: tuple[Proposal, ...]

    @property
    def share(self) -> float:
        """Of the drawn networks, those that fit."""
        return self.fitting / self.drawn if self.drawn else 0.0

    def spread(self, measure: Callable[[Cost], float]) -> Spread:
        return Spread.of([measure(proposal.cost) for proposal in self.sample])


def survey(space: SearchSpace, task: Task, limits: Limits, rng: random.Random, *, most: int, seconds: float) -> Survey:
    """Draw up to `most` networks evenly, fewer where that would take longer than `seconds`.

    Choices that cannot be built count as none. A space of up to `most` choices is gone through to its end if there is
    time.
    """
    until = time.monotonic() + seconds
    found: list[Proposal] = []
    exact = space.size <= most
    for number, proposal in enumerate(_all(space, task) if exact else _some(space, task, rng, most)):
        if number >= LEAST and time.monotonic() > until:
            exact = False
            break
        if proposal is not None:
            found.append(proposal)
    fitting = [proposal for proposal in found if limits.allow(proposal.cost)]
    sample = fitting if len(fitting) >= FEW or not limits else fitting + _sought(space, task, limits, rng, seconds)
    return Survey(space.size, len(found), len(fitting), exact, tuple(sample))


def _all(space: SearchSpace, task: Task) -> Iterator[Proposal | None]:
    choices = list(every(space))
    random.Random(0).shuffle(choices)  # even if time ends it
    return (_buildable(space, task, each) for each in choices)


def _some(space: SearchSpace, task: Task, rng: random.Random, most: int) -> Iterator[Proposal | None]:
    return (_buildable(space, task, space.random(rng)) for _ in range(most))


def _buildable(space: SearchSpace, task: Task, choices) -> Proposal | None:
    try:
        return propose(space, task, choices, lambda digest: False)
    except ArchitectureError:
        return None


def _sought(space: SearchSpace, task: Task, limits: Limits, rng: random.Random, seconds: float) -> list[Proposal]:
    """A few networks within limits that hardly any keeps; the first one is waited for."""
    until = time.monotonic() + seconds
    found: list[Proposal] = []
    for proposal in draws(space, task, limits, lambda digest: False, rng):
        if limits.allow(proposal.cost):
            found.append(proposal)
        if len(found) >= ENOUGH or (found and time.monotonic() > until):
            break
    return found
