"""What the best trials have in common that the others have not, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.explaining.evidence import COSTS, Evidence, Scored
from nas.quantities import show_count

RARE = 0.01  # a sentence is said of what a draw of as many trials would show with less than this probability
MOST_SENTENCES = 8


def best_trials(evidence: Evidence) -> list[Scored]:
    """The best tenth by quality: at least 3, at most 10."""
    count = min(10, max(3, round(len(evidence.trials) / 10)))
    return sorted(evidence.trials, key=lambda trial: (-trial.quality, trial.number))[:count]


def in_common(evidence: Evidence) -> list[str]:
    """Options that most of the best have and few of the others, the least likely by chance first; then their costs."""
    best, trials = best_trials(evidence), evidence.trials
    found = []
    for name, option in {(name, option) for trial in best for name, option in trial.choices.items()}:
        shared, all_with = _with(best, name, option), _with(trials, name, option)
        chance = at_least(shared, len(best), all_with, len(trials))
        if 2 * shared > len(best) and chance < RARE:
            words = f"{name} is {option} in {shared} of the best {len(best)}, and in {all_with} of all {len(trials)}."
            found.append((chance, words))
    said = [words for _, words in sorted(found)[:MOST_SENTENCES]]
    nothing = f"The best {len(best)} share no option that as many trials drawn by chance would not share as often."
    return [*(said or [nothing]), *_costs(best, trials)]


def at_least(shared: int, drawn: int, having: int, total: int) -> float:
    """The probability that `drawn` of `total` trials, of which `having` have an option, hold `shared` of these or more.

    Hypergeometric.
    """
    ways = sum(
        math.comb(having, number) * math.comb(total - having, drawn - number)
        for number in range(shared, min(drawn, having) + 1)
    )
    return ways / math.comb(total, drawn)


def _with(trials: Sequence[Scored], name: str, option: Any) -> int:
    return sum(name in trial.choices and trial.choices[name] == option for trial in trials)


def _costs(best: Sequence[Scored], trials: Sequence[Scored]) -> list[str]:
    """Where the best lie between the cheapest and the dearest, for each cost."""
    sentences = []
    for name, words in zip(COSTS, ("parameters", "MACs", "activations"), strict=True):
        low, high = min(values := [trial.measures[name] for trial in best]), max(values)
        middle = float(np.median([trial.measures[name] for trial in trials]))
        sentences.append(
            f"The best {len(best)} have {show_count(low)} to {show_count(high)} {words}; the middle of all trials is "
            f"{show_count(middle)}."
        )
    return sentences
