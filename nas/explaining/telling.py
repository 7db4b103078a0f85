"""Findings as rows of words, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nas.explaining.correlations import Correlation, RungCorrelation, ScoreCorrelation
from nas.explaining.effects import Choice, Effect

if TYPE_CHECKING:
    from nas.explaining.importance import Importance  # it loads Optuna

IMPORTANCE_HEAD = ("choice", "importance", "by chance", "trials", "")
EFFECT_HEAD = ("choice", "option", "points", "95 % interval", "trials")
RUNG_HEAD = ("after epoch", "against epoch", "rank correlation", "95 % interval", "trials")
SCORE_HEAD = ("measure", "all trials", "95 % interval", "trials", "better half", "95 % interval", "trials")

IMPORTANCE_NOTE = (
    "PED-ANOVA: how far the choices of the good trials (20, at least a tenth and at most half) differ from those of "
    "all. By chance: what 1 of 20 shuffles of the scores reaches, in shares of the study's own total; "
    "what is not above it may be nothing."
)
EFFECT_NOTE = (
    "Percentage points of accuracy against the mean of all trials that had the choice, each trial measured by its "
    "longest training less what that length adds. Options that the search took together share their effects."
)
SCORE_NOTE = (
    "Rank correlation with the same quality. An interval that holds 0 says that the measure told nothing of the "
    "results here; the better half is what a search chooses from."
)


def importance_rows(found: Sequence[Importance]) -> list[tuple[str, ...]]:
    return [
        (
            each.choice,
            f"{each.share:.0%}",
            f"{each.chance:.0%}",
            str(each.trials),
            "above chance" if each.above_chance else "",
        )
        for each in found
    ]


def effect_rows(choice: Choice) -> list[tuple[str, ...]]:
    """A row an option, in percentage points."""
    return [
        (
            choice.name,
            show_option(effect.option),
            show_points(effect.difference),
            _interval(effect),
            str(effect.trials),
        )
        for effect in choice.effects
    ]


def show_option(option: Any) -> str:
    """An option as a person would type it."""
    return f"{option:g}" if isinstance(option, float) else str(option)


def show_points(difference: float) -> str:
    """A difference of accuracies in percentage points."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"  # + 0.0: no minus before nothing


def _interval(effect: Effect) -> str:
    if effect.low is None or effect.high is None:
        return "-"
    return f"{show_points(effect.low)} to {show_points(effect.high)}"


def rung_rows(found: Sequence[RungCorrelation]) -> list[tuple[str, ...]]:
    return [(str(each.short), str(each.long), *correlation_cells(each.correlation)) for each in found]


def score_rows(found: Sequence[ScoreCorrelation]) -> list[tuple[str, ...]]:
    return [(each.name, *correlation_cells(each.overall), *correlation_cells(each.better_half)) for each in found]


def correlation_cells(found: Correlation) -> tuple[str, str, str]:
    """Value, interval and number of trials."""
    if found.value is None or found.low is None or found.high is None:
        return "-", "-", str(found.trials)
    return f"{found.value:.2f}", f"{found.low:.2f} to {found.high:.2f}", str(found.trials)
