"""Draws from a space without a sampler: every choice of a small space, a descent to the limits in a large one."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from nas.limits import Limits
from searchspace import Architecture, ArchitectureError, Cost, cost
from searchspace.space import Dimension, Option, SearchSpace, Task

TRIES = 1000  # draws in a row that bring nothing new before the space counts as spent
RANDOM_FIRST = 30  # draws before limits are approached on purpose, lest every redraw be tiny
STARTS = 10  # small networks from which the descent takes the smallest


@dataclass(frozen=True)
class Proposal:
    """An architecture with its cost, and the choices it comes from."""

    choices: Mapping[str, Any]
    base: Architecture
    architecture: Architecture
    cost: Cost


Over = Callable[[Proposal], float]
"""How far a proposal is over what is allowed, as a share of it; at most 0 is allowed."""


def propose(
    space: SearchSpace, task: Task, choices: Mapping[str, Any], known: Callable[[str], bool]
) -> Proposal | None:
    """What the choices stand for, or None if its digest is known.

    Raises:
        ArchitectureError: it cannot be built.
    """
    architecture = space.decode(choices, task)
    if known(architecture.digest):
        return None
    return Proposal(choices, space.base(choices, task), architecture, cost(architecture))


def draws(
    space: SearchSpace,
    task: Task,
    limits: Limits,
    known: Callable[[str], bool],
    rng: random.Random,
    over: Over | None = None,
) -> Iterator[Proposal]:
    """New architectures in random order, over the limits or not.

    A space of up to `TRIES` choices is drawn to its end. Of a larger one come random ones, then, where those were all
    over the limits, those of a descent to them, then random ones in turn with mutations: of what lies nearest to the
    limits, and of the last one drawn once some are within. `over` is asked in place of `limits`, if it is given.
    """
    seen: set[str] = set()
    wanted = _every_shuffled if space.size <= TRIES else _wandering
    for found in wanted(space, task, over or _counted(limits), rng):
        digest = found.architecture.digest
        if digest not in seen and not known(digest):
            seen.add(digest)
            yield found


def _counted(limits: Limits) -> Over:
    return lambda proposal: limits.worst(proposal.cost)


def _every_shuffled(space: SearchSpace, task: Task, over: Over, rng: random.Random) -> Iterator[Proposal]:
    choices = list(every(space))
    rng.shuffle(choices)
    return filter(None, (_buildable(space, task, each) for each in choices))


def _wandering(space: SearchSpace, task: Task, over: Over, rng: random.Random) -> Iterator[Proposal]:
    nearest: Proposal | None = None
    distance = math.inf  # of the nearest from what is allowed; what is allowed is all equally near
    for number in range(TRIES):
        if number == RANDOM_FIRST and distance > 0:
            for nearest in _descent(space, task, over, rng):
                yield nearest
                if (distance := max(0.0, over(nearest))) == 0:
                    break
        mutate = nearest is not None and number > RANDOM_FIRST and number % 2
        choices = space.mutate(nearest.choices, rng) if mutate and nearest else space.random(rng)
        found = _buildable(space, task, choices)
        if found is not None:
            yield found
            if (its_distance := max(0.0, over(found))) <= distance:
                nearest, distance = found, its_distance


def descent(
    space: SearchSpace, task: Task, limits: Limits, rng: random.Random, over: Over | None = None
) -> Iterator[Proposal]:
    """Architectures ever nearer to the limits: first small numbers everywhere, then one choice changed at a time, until
    no single change helps. `over` is asked in place of `limits`, if it is given.
    """
    return _descent(space, task, over or _counted(limits), rng)


def _descent(space: SearchSpace, task: Task, over: Over, rng: random.Random) -> Iterator[Proposal]:
    nearest: Proposal | None = None
    for _ in range(STARTS):
        found = _buildable(space, task, space.choose(_Small({}, rng)))
        if _is_nearer(found, nearest, over):
            yield (nearest := found)
    before = None
    while nearest is not None and nearest is not before:
        before = nearest
        for name, option in [
            (dimension.name, option) for dimension in space.dimensions for option in dimension.options
        ]:
            if nearest.choices.get(name, option) == option:  # chosen already, or not asked here
                continue
            found = _buildable(space, task, space.choose(_Small({**nearest.choices, name: option}, rng)))
            if _is_nearer(found, nearest, over):
                yield (nearest := found)


def _buildable(space: SearchSpace, task: Task, choices: Mapping[str, Any]) -> Proposal | None:
    try:
        return propose(space, task, choices, lambda digest: False)
    except ArchitectureError:
        return None


def _is_nearer(found: Proposal | None, nearest: Proposal | None, over: Over) -> TypeGuard[Proposal]:
    return found is not None and (nearest is None or over(found) < over(nearest))


class _Small:
    """A chooser of what is given, else of the smallest number, else of any option."""

    def __init__(self, given: Mapping[str, Option], rng: random.Random) -> None:
        self._given = given
        self._rng = rng

    def suggest_categorical(self, name: str, choices: Sequence[Any], /) -> Any:
        return self._given[name] if name in self._given else self._rng.choice(choices)

    def suggest_int(self, name: str, low: int, high: int, /, *, step: int = 1) -> Any:
        return self._given.get(name, low)

    def suggest_float(self, name: str, low: float, high: float, /, *, step: float | None = None) -> Any:
        return self._given.get(name, low)


def every(space: SearchSpace) -> Iterator[Mapping[str, Option]]:
    """All choices of a space, one by one; there are `space.size`."""

    def extend(chosen: Mapping[str, Option], rest: tuple[Dimension, ...]) -> Iterator[Mapping[str, Option]]:
        if not rest:
            yield chosen
            return
        dimension, others = rest[0], rest[1:]
        parent, values = dimension.when or (None, ())
        if parent is not None and (parent not in chosen or chosen[parent] not in values):
            yield from extend(chosen, others)
            return
        for option in dimension.options:
            yield from extend({**chosen, dimension.name: option}, others)

    return extend({}, space.dimensions)
