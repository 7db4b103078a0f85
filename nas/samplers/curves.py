"""What trials that stopped early would have come to, so that they can be compared with those that did not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.samplers.encoding import Floats

FINAL = math.inf  # the step of a complete trial's value
LEAST = 5  # trials that have the values at two steps, before a line may lead from one to the other
NEWEST = 200  # at most so many trials are fitted
CAUTION = 5  # trials that the slope to begin with counts as
FIRST_SLOPE = 0.5  # the slope to begin with, where both steps' values have the same spread
STEPS = 16  # at most so many of the steps at which trials stopped are told apart

Curve = Mapping[float, float]
"""Finite values by step, larger is better; a complete trial has one at `FINAL`. Never empty."""


def comparable(curves: Sequence[Curve]) -> Floats:
    """One score for each curve, all on one scale; NaN for one that cannot be compared with the others.

    A trial that stopped at a step gets the final value that is to be expected after its value at that step: a line
    leads from each step at which trials stopped to the next such step, fitted on the trials that have both. Those are
    chosen ones, but they were chosen by the earlier value (or by values before it), and what is to be expected of the
    later value for a given earlier one does not depend on how often the earlier one is seen: choosing by it does not
    bias the line. A line from the first step straight to the last would be biased: whoever came to the last was chosen
    by values in between.

    Where fewer than `LEAST` trials have both, no line leads on, and everything is compared at that step: a trial that
    went on counts by its value there. Should a complete trial have no value there, final values are compared, and
    nothing is known of those that stopped.
    """
    if all(FINAL in curve for curve in curves):
        return np.array([curve[FINAL] for curve in curves])
    steps = _steps(curves)
    table = np.array([[curve.get(step, math.nan) for step in steps] for curve in curves])
    lines = _lines(table)
    ends = [_at(end, table, lines) for end in reversed(range(len(steps))) if end not in lines]
    complete = np.array([FINAL in curve for curve in curves])
    return max((scores for scores in ends if np.isfinite(scores[complete]).all()), key=_known)


def _known(scores: Floats) -> int:
    return int(np.isfinite(scores).sum())


def _steps(curves: Sequence[Curve]) -> list[float]:
    """Rising steps at which trials stopped; of too many, some that are evenly spread among them, ends included."""
    steps = sorted({max(curve) for curve in curves})
    if len(steps) <= STEPS:
        return steps
    return [steps[round(place)] for place in np.linspace(0, len(steps) - 1, STEPS)]


def _lines(table: Floats) -> dict[int, tuple[int, Line]]:
    """From columns to the next that at least `LEAST` of the trials came to, and the line that leads there."""
    found: dict[int, tuple[int, Line]] = {}
    known = np.isfinite(table)
    for column, later in itertools.combinations(range(table.shape[1]), 2):
        both = np.flatnonzero(known[:, column] & known[:, later])
        if column not in found and len(both) >= LEAST:
            found[column] = (later, Line.through(*table[both[-NEWEST:]][:, [column, later]].T))
    return found


def _at(end: int, table: Floats, lines: Mapping[int, tuple[int, Line]]) -> Floats:
    """Each trial's value in the column `end`, or what is expected of it there; NaN where no lines lead there."""
    known = np.isfinite(table)
    places = np.where(known.any(axis=1), table.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1), -1)
    places[known[:, end]] = end
    values = table[np.arange(len(table)), places]
    for column, (later, line) in sorted(lines.items()):
        here = places == column
        values[here], places[here] = line(values[here]), later
    return np.where(places == end, values, math.nan)


@dataclass(frozen=True)
class Line:
    slope: float
    intercept: float

    def __call__(self, values: Floats) -> Floats:
        return self.slope * values + self.intercept

    @classmethod
    def through(cls, earlier: Floats, later: Floats) -> Line:
        """The median of the slopes between any two trials (Theil 1950; Sen 1968), held to zero or more.

        A quarter of the trials may have come to anything. Of few trials the slope is drawn to one that says that the
        earlier value explains half of the spread of the later one.
        """
        run, rise = _differences(earlier), _differences(later)
        steep = rise[run != 0] / run[run != 0]
        if len(steep) == 0:
            return cls(0.0, float(np.median(later)))
        first = FIRST_SLOPE * _spread(later) / _spread(earlier)
        slope = (len(later) * float(np.median(steep)) + CAUTION * first) / (len(later) + CAUTION)
        slope = max(0.0, slope)
        return cls(slope, float(np.median(later - slope * earlier)))


def _differences(values: Floats) -> Floats:
    return (values[:, None] - values)[np.triu_indices(len(values), 1)]


def _spread(values: Floats) -> float:
    """Between the quartiles, or the standard deviation where half of the values are equal."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low) or float(values.std())
