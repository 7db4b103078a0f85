"""How many epochs a pruner lets a trial train, as an expectation over trials whose ranks are a matter of chance.

A search that learns asks for ever better networks, of which more go on than of equal ones: then it takes longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from nas.training.recipe import RUNG_FACTOR, Recipe, rungs_for

ExpectedEpochs = Callable[[int, int], float]
"""From a trial's epochs and the number of trials to the epochs that are trained in all."""


def all_epochs(epochs: int, trials: int) -> float:
    """No trial is pruned."""
    return float(epochs * trials)


def halving(epochs: int, trials: float, first: int, factor: int) -> float:
    """Successive halving with rungs at `first`, `first * factor` and so on: one in `factor` goes on from each.

    The trial that comes k-th to a rung goes on if it is among the best k // factor so far, or the best of all where
    that is none (Optuna's SuccessiveHalvingPruner): of few trials more go on than one in `factor`.
    """
    total, arrived, before, rung = 0.0, trials, 0, first
    while rung < epochs:
        total += arrived * (rung - before)
        arrived = _promoted(arrived, factor)
        before, rung = rung, rung * factor
    return total + arrived * (epochs - before)


def _promoted(arrived: float, factor: int) -> float:
    """Expected number that goes on from a rung; between whole numbers of arrivals it grows evenly."""
    whole = int(arrived)
    chances = (max(1, place // factor) / place for place in range(1, whole + 1))
    return sum(chances) + (arrived - whole) * max(1, (whole + 1) // factor) / (whole + 1)


def asha(epochs: int, trials: int) -> float:
    """As `nas.pruners` sets it up: rungs from a quarter of the epochs on, half goes on."""
    return halving(epochs, trials, max(1, round(epochs / 4)), 2)


def rungs(epochs: int, trials: int) -> float:
    """As `nas.pruners` sets it up: of each rung the best third goes on."""
    total, arrived = 0.0, float(trials)
    for length in Recipe(epochs=epochs, rungs=rungs_for(epochs)).schedules:
        total += arrived * length
        arrived = _promoted(arrived, RUNG_FACTOR)
    return total


def hyperband(epochs: int, trials: int) -> float:
    """Halving by three in brackets that begin at 1, 3, 9 epochs, among which Optuna shares out the trials."""
    brackets = int(math.log(epochs, 3) + 1e-9) + 1
    shares = [math.ceil(brackets * 3**left / (left + 1)) for left in reversed(range(brackets))]
    return sum(halving(epochs, trials * share / sum(shares), 3**number, 3) for number, share in enumerate(shares))


def median(epochs: int, trials: int) -> float:
    """Five trials train to the end; of the others two in three go on from each epoch after a quarter of them.

    The share is no law: with values in a random order it is what Optuna's pruner comes to for 10 epochs and 50 trials.
    """
    whole, first = min(5, trials), max(1, epochs // 4)
    going_on = sum((2 / 3) ** later for later in range(1, epochs - first + 1))
    return whole * epochs + (trials - whole) * (first + going_on)


EXPECTED: dict[str, ExpectedEpochs] = {
    "rungs": rungs,
    "asha": asha,
    "hyperband": hyperband,
    "median": median,
    "none": all_epochs,
}


def expected_epochs(pruner: str, epochs: int, trials: int) -> float:
    """Epochs that `trials` trials of at most `epochs` epochs train in all; under an unknown pruner, all of them."""
    return EXPECTED.get(pruner, all_epochs)(epochs, trials)
