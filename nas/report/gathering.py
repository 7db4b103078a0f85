"""What a report needs beside the findings: fronts, the best trials, and the winner's drawing, which loads torch."""

from __future__ import annotations

from nas.explaining.findings import Findings
from nas.quantities import show_count
from nas.report.page import BEST, Report
from studies import Evaluation, StudyStore, leaderboard, pareto_front


def gather(store: StudyStore, findings: Findings, modules: tuple[str, ...] = ()) -> Report:
    """Everything the page shows; `modules` are imported for block families of the user's own."""
    study_id = findings.evidence.study.id
    fronts = {
        "macs": set(pareto_front(store, study_id, "macs")["trial"]),
        "params": set(pareto_front(store, study_id, "params")["trial"]),
    }
    best = store.best(study_id)
    assert best is not None, "findings rest on scored trials"
    drawing, why = _drawing(best, modules)
    accuracy = "" if best.val_accuracy is None else f", {best.val_accuracy:.2%} validation accuracy"
    words = f"trial {best.trial_number}{accuracy}, {show_count(best.params)} parameters, {show_count(best.macs)} MACs"
    return Report(findings, fronts, leaderboard(store, study_id, BEST), f"{words}{why}", drawing)


def _drawing(best: Evaluation, modules: tuple[str, ...]) -> tuple[str | None, str]:
    """The network as SVG, or None and the reason."""
    from nas.plugins import load_plugins
    from searchspace import Architecture, ArchitectureError, draw

    load_plugins(modules)
    try:
        return draw(Architecture.from_json(best.architecture_json)), ""
    except ArchitectureError as error:
        return None, f". It cannot be drawn: {error}"
