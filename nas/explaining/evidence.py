"""What a study can say: its trials with a score, each with its choices, costs, and scores along the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import NasError
from nas.explaining.levels import adjusted
from nas.study_limits import CONSTRAINT, limits_noted
from studies import COMPLETE, PRUNED, Study, StudyStore, all_curves, all_trials, noted_of_trials

LEAST = 5  # trials with a score: fewer say nothing
COSTS = ("params", "macs", "activations")
FREE_SCORES = ("synflow", "nwot", "jacov", "zen", "az_nas")
"""Scores of untrained networks, which a search may note as attributes of its Optuna trials."""


@dataclass(frozen=True)
class Scored:
    """A trial with a score.

    `scores` are validation accuracies by the epoch they were measured after; `quality` is one number that compares all
    trials of the study, see `nas.explaining.levels`. `measures` are costs and free scores by name.
    """

    number: int
    status: str
    choices: Mapping[str, Any]
    measures: Mapping[str, float]
    scores: Mapping[int, float]
    quality: float


@dataclass(frozen=True)
class Evidence:
    """A study's scored trials in the order of their numbers.

    `checkpoints` are the epochs at which early scores are compared with later ones: the ends of the rungs, or a
    quarter, half and the end of the one schedule. `counts` are all evaluations by status.
    """

    study: Study
    trials: tuple[Scored, ...]
    checkpoints: tuple[int, ...]
    rungs: bool
    counts: Mapping[str, int]
    limits: Mapping[str, float]
    frame: Any
    """Every evaluation, as `studies.all_trials` gives them."""


def read_evidence(store: StudyStore, study: Study) -> Evidence:
    """All that the database holds of a study's results.

    Raises:
        NasError: fewer than 5 trials have a score.
    """
    frame = all_trials(store, study.id)
    curves = _curves(store, study.id)
    rows = [row for row in frame.to_dict("records") if row["status"] in (COMPLETE, PRUNED)]
    rungs, checkpoints = _checkpoints(rows[0]["recipe"] if rows else {})
    found = [(row, scores) for row in rows if (scores := _scores(row, curves, checkpoints if rungs else None))]
    require_enough(study, len(found))
    noted = {each.get("nas_evaluation"): each for each in noted_of_trials(store, study.name, CONSTRAINT).values()}
    newest = noted.get(rows[-1]["evaluation_id"], {})
    qualities = adjusted([scores for _, scores in found])
    return Evidence(
        study,
        tuple(
            _scored(row, scores, quality, noted.get(row["evaluation_id"], {}))
            for (row, scores), quality in zip(found, qualities, strict=True)
        ),
        checkpoints,
        rungs,
        {str(status): int(count) for status, count in frame["status"].value_counts().items()},
        limits_noted(newest),
        frame,
    )


def require_enough(study: Study, count: int) -> None:
    """Refuse to explain what too few trials cannot tell."""
    if count >= LEAST:
        return
    have = "no trial has" if count == 0 else f"only {count} trial{'s have' if count > 1 else ' has'}"
    raise NasError(
        f"{have} a score in study {study.name!r}, and {LEAST} are the least that say anything: go on with the command "
        "that made it and a larger --budget"
    )


def _curves(store: StudyStore, study_id: str) -> dict[str, dict[int, float]]:
    """The accuracy after each epoch, by evaluation."""
    curves: dict[str, dict[int, float]] = {}
    known = all_curves(store, study_id).dropna(subset=["val_accuracy"])
    for evaluation_id, epoch, accuracy in known.itertuples(index=False):
        curves.setdefault(evaluation_id, {})[int(epoch)] = float(accuracy)
    return curves


def _checkpoints(recipe: Mapping[str, Any]) -> tuple[bool, tuple[int, ...]]:
    """Whether there are rungs, and the epochs at which scores are compared; older recipes know no rungs."""
    training = recipe.get("training", recipe)
    rungs, epochs = list(training.get("rungs") or ()), int(training.get("epochs", 1))
    if rungs:
        return True, (*rungs, epochs)
    return False, tuple(sorted({max(1, round(epochs / 4)), max(1, round(epochs / 2)), epochs}))


def _scores(row: Mapping[str, Any], curves: Mapping[str, Any], ends: Sequence[int] | None) -> dict[int, float]:
    """The scores that may be compared with other trials': with rungs those at their ends alone.

    Within a schedule a score says little while the rate is high. A trial that was stored without its epochs has its
    accuracy alone.
    """
    curve = curves.get(row["evaluation_id"], {})
    if not curve and row["val_accuracy"] == row["val_accuracy"]:
        curve = {int(row["epochs"]): float(row["val_accuracy"])}
    return {epoch: score for epoch, score in curve.items() if ends is None or epoch in ends}


def _scored(row: Mapping[str, Any], scores: dict[int, float], quality: float, noted: Mapping[str, Any]) -> Scored:
    measures = {name: float(row[name]) for name in COSTS}
    measures |= {
        name: float(noted[name])
        for name in FREE_SCORES
        if isinstance(noted.get(name), int | float) and float(noted[name]) == float(noted[name])
    }
    return Scored(int(row["trial"]), row["status"], row["choices"], measures, scores, quality)
