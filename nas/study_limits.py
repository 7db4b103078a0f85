"""The limits that a study was held to, read back from its trials; it loads neither torch nor Optuna."""

from __future__ import annotations

from typing import Any

from nas.quantities import show_count, show_latency
from studies import Study, StudyStore, noted_of_trials

CONSTRAINT = "constraints:"  # how Optuna names the system attribute of a trial's constraint
LATENCY, LATENCY_MS = "latency", "latency_ms"  # the limit, and the user attribute and column of what is measured


def study_limits(store: StudyStore, study: Study) -> dict[str, float]:
    """The limit on each measure by its name ("macs": 12000000), as the newest trial that was trained kept it.

    A limit may change from one run of a study to the next, so it is no setting of the study. A trial notes its measure
    and by what share of the limit this lies over it, which together tell the limit.
    """
    trained = [noted for noted in noted_of_trials(store, study.name, CONSTRAINT).values() if "nas_evaluation" in noted]
    return limits_noted(trained[-1]) if trained else {}


def limits_noted(noted: dict[str, Any]) -> dict[str, float]:
    """The limits of one trial, from its attributes."""
    limits = {}
    for key, share in noted.items():
        name = key.removeprefix(CONSTRAINT)
        measure = noted.get(column_of(name))
        if key.startswith(CONSTRAINT) and isinstance(measure, int | float) and share > -1:
            limit = measure / (1 + share)
            limits[name] = round(limit) if isinstance(measure, int) else limit
    return limits


def column_of(limit: str) -> str:
    """The name under which a trial has what the limit is on."""
    return LATENCY_MS if limit == LATENCY else limit


def show_limit(name: str, limit: float) -> str:
    return f"max-{name} {show_latency(limit) if name == LATENCY else show_count(limit)}"


def show_limits(limits: dict[str, float]) -> str:
    """As the options name them: `max-params 500k and max-macs 12M`; empty where there are none."""
    return " and ".join(show_limit(name, limit) for name, limit in limits.items())
