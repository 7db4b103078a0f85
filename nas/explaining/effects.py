"""What each option of each choice was worth: block families by stage, widths, depths, activations, scaling."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.explaining.evidence import Evidence

STAGE = re.compile(r"stage(\d+)/(\w+)")


@dataclass(frozen=True)
class Effect:
    """The mean quality of the trials with this option, less the mean of all that had the choice, in accuracy (0 to 1).

    `low` and `high` are its 95 % interval by Student's t, with one spread for all options of the choice; None where no
    option was taken twice. It is what trials with the option had in common, not what the option caused: a search
    samples good options together.
    """

    option: Any
    trials: int
    difference: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Choice:
    """A named choice and the effects of its options: numbers by size, words by their effect."""

    name: str
    effects: tuple[Effect, ...]

    @property
    def stage(self) -> int | None:
        match = STAGE.fullmatch(self.name)
        return int(match[1]) if match else None

    @property
    def part(self) -> str:
        """What is chosen, without its stage: family, width, depth."""
        match = STAGE.fullmatch(self.name)
        return match[2] if match else self.name


def choice_effects(evidence: Evidence) -> list[Choice]:
    """Every choice that took more than one value, in the order in which it is made."""
    names = list(dict.fromkeys(name for trial in evidence.trials for name in trial.choices))
    found = []
    for name in names:
        groups: dict[Any, list[float]] = {}
        for trial in evidence.trials:
            if name in trial.choices:
                groups.setdefault(trial.choices[name], []).append(trial.quality)
        if len(groups) > 1:
            found.append(Choice(name, tuple(_sorted(_effects(groups)))))
    return sorted(found, key=lambda choice: (choice.stage or 0, names.index(choice.name)))


def _sorted(effects: list[Effect]) -> list[Effect]:
    if all(isinstance(effect.option, int | float) and not isinstance(effect.option, bool) for effect in effects):
        return sorted(effects, key=lambda effect: effect.option)
    return sorted(effects, key=lambda effect: -effect.difference)


def _effects(groups: dict[Any, list[float]]) -> list[Effect]:
    mean = float(np.mean([quality for group in groups.values() for quality in group]))
    reach = _reach(list(groups.values()))
    effects = []
    for option, group in groups.items():
        difference = float(np.mean(group)) - mean
        half = None if reach is None else reach / math.sqrt(len(group))
        low, high = (None, None) if half is None else (difference - half, difference + half)
        effects.append(Effect(option, len(group), difference, low, high))
    return effects


def _reach(groups: Sequence[Sequence[float]]) -> float | None:
    """Half the 95 % interval of one trial's quality around the mean of its group."""
    from scipy.special import stdtrit

    free = sum(len(group) - 1 for group in groups)
    if free == 0:
        return None
    squares = sum(float(((np.array(group) - np.mean(group)) ** 2).sum()) for group in groups)
    return float(stdtrit(free, 0.975)) * math.sqrt(squares / free)
