"""Children of a parent: one parameter takes another value, and those that depend on it follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from nas.samplers.encoding import Params, number, unit

NEAR = 0.5  # share of a number's mutations that stay near it; the others are drawn evenly
REACH = 0.1  # their standard deviation, as a share of the range


def draw(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    """A value of the distribution, all of them alike."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[rng.integers(len(distribution.choices))]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.step is None or distribution.log:
        return number(distribution, rng.random())
    steps = round((distribution.high - distribution.low) / distribution.step)
    return number(distribution, float(rng.integers(steps + 1)) / max(1, steps))


def change(distribution: BaseDistribution, value: Any, rng: np.random.Generator) -> Any:
    """Another value of a distribution that has more than one: near `value` or anywhere where it is a number."""
    if isinstance(distribution, CategoricalDistribution):
        others = [option for option in distribution.choices if not _same(option, value)]
        return others[rng.integers(len(others))]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if rng.random() < NEAR:
        given = number(distribution, unit(distribution, value) + rng.normal(0, REACH))
        if given == value:
            given = _neighbour(distribution, value, rng)
    else:
        given = draw(distribution, rng)
    while given == value:
        given = draw(distribution, rng)
    return given


def _neighbour(distribution: IntDistribution | FloatDistribution, value: float, rng: np.random.Generator) -> float:
    """The next value up or down, or `value` itself at an end."""
    step = (distribution.step or 0) * (1 if rng.random() < 0.5 else -1)
    return min(distribution.high, max(distribution.low, value + step))


def _same(option: Any, value: Any) -> bool:
    return type(option) is type(value) and option == value


class Conditions:
    """Which parameters were active under which option of another, in all trials or in none; learnt from the trials.

    A study does not say what its parameters depend on. What these rules leave open is asked for when the trial is
    suggested its parameters, and drawn then.
    """

    def __init__(self, trials: Sequence[Params]) -> None:
        self._active: dict[tuple[str, str], tuple[frozenset[str], frozenset[str]]] = {}
        common = (
            frozenset(name for name in trials[0] if all(name in params for params in trials)) if trials else frozenset()
        )
        self._sometimes = frozenset(name for params in trials for name in params) - common
        if self._sometimes:
            for params in trials:
                self._learn(params)

    def _learn(self, params: Params) -> None:
        names = frozenset(params) & self._sometimes
        for name, value in params.items():
            always, ever = self._active.get((name, repr(value)), (names, frozenset()))
            self._active[name, repr(value)] = (always & names, ever | names)

    def follow(self, params: dict[str, Any], changed: str, draws: Mapping[str, Any]) -> dict[str, Any]:
        """`params` without what is never active under the changed option, and with what always is, from `draws`."""
        if (changed, repr(params[changed])) not in self._active:
            return params
        always, ever = self._active[changed, repr(params[changed])]
        kept = {name: value for name, value in params.items() if name not in self._sometimes or name in ever}
        return kept | {name: draws[name] for name in sorted(always - kept.keys()) if name in draws}


def child(
    parent: Params, space: Mapping[str, BaseDistribution], conditions: Conditions, rng: np.random.Generator
) -> dict[str, Any] | None:
    """The parent with one parameter of `space` changed; None where it has none of them."""
    mutable = [name for name in space if name in parent]
    if not mutable:
        return None
    name = mutable[rng.integers(len(mutable))]
    changed = {**parent, name: change(space[name], parent[name], rng)}
    drawn = {other: draw(space[other], rng) for other in space if other not in changed}
    return conditions.follow(changed, name, drawn)
