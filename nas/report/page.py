"""A study as one HTML file: no script, nothing from the network, every word of the data escaped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas.explaining import telling
from nas.explaining.findings import Findings
from nas.quantities import show_count, show_duration
from nas.report import figures
from nas.report.markup import Markup, bullets, joined, safe, table, tag
from nas.study_limits import show_limits

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',Arial,sans-serif;
max-width:960px;margin:0 auto;padding:24px;color:#1f2328;background:#fff}
h1{font-size:26px}h2{font-size:20px;margin:40px 0 8px}
table{border-collapse:collapse;margin:12px 0;font-size:14px}
th,td{padding:4px 12px 4px 0;text-align:left;border-bottom:1px solid #d8dee4;vertical-align:top}
figure{margin:16px 0;overflow-x:auto}figcaption,.note{color:#57606a;font-size:14px}
svg{max-width:100%;height:auto}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}
figcaption,.note{color:#9da7b3}}
"""
BEST = 10


@dataclass(frozen=True)
class Report:
    """What the page shows: the findings, the fronts by cost (trial numbers), the best trials, the winner's picture."""

    findings: Findings
    fronts: dict[str, set[int]]
    best: Any
    winner: str
    drawing: str | None
    """SVG of the winner; None where it cannot be drawn, and `winner` says why."""


def write_page(report: Report) -> str:
    """The whole document."""
    title = f"Study {report.findings.evidence.study.name}"
    head = [
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Markup('<meta name="viewport" content="width=device-width">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        tag("title", title),
        Markup(f"<style>{STYLE}</style>"),
    ]
    parts = [tag("h1", title), *(part for section in SECTIONS if (part := section(report)) is not None)]
    return joined(
        [Markup('<!DOCTYPE html>\n<html lang="en">'), tag("head", joined(head)), tag("body", joined(parts)),
         Markup("</html>\n")]
    )  # fmt: skip


def facts(report: Report) -> Markup | None:
    """What was searched, and within what."""
    evidence = report.findings.evidence
    settings = evidence.study.settings
    rows = [(name, str(settings[name])) for name in ("dataset", "space", "objective", "epochs") if name in settings]
    rows += [(name.replace("_", " "), str(settings[name])) for name in ("limit_train", "resolution", "seed")
             if settings.get(name) is not None]  # fmt: skip
    counts = ", ".join(f"{count} {status.lower()}" for status, count in evidence.counts.items())
    rows += [("limits", show_limits(dict(evidence.limits)) or "none"), ("trials", counts)]
    rows.append(("training time", show_duration(float(evidence.frame["seconds"].sum()))))
    rows.append(("begun", f"{evidence.study.created_at:%Y-%m-%d %H:%M} UTC"))
    warning = report.findings.warning
    return joined([table(["", ""], rows), tag("p", f"{warning}.", class_="note") if warning else ""])


def best_trials(report: Report) -> Markup | None:
    """The leaderboard's head."""
    rows = [
        (
            str(row["trial"]),
            row["status"].lower(),
            f"{row['val_accuracy']:.2%}",
            show_count(row["params"]),
            show_count(row["macs"]),
            str(row["epochs"]),
            "-" if row["seconds"] != row["seconds"] else show_duration(row["seconds"]),
        )
        for row in report.best.to_dict("records")
        if row["val_accuracy"] == row["val_accuracy"]
    ]
    head = ["trial", "status", "validation accuracy", "parameters", "MACs", "epochs", "time"]
    return _section("The best trials", table(head, rows))


def costs(report: Report) -> Markup | None:
    """Accuracy against what a network costs."""
    evidence = report.findings.evidence
    pictures = [
        figures.accuracy_against_cost(evidence.study.name, evidence.frame, report.fronts[cost], cost, evidence.limits)
        for cost in ("macs", "params")
    ]
    return _section("Accuracy and cost", *map(_figure, pictures))


def progress(report: Report) -> Markup | None:
    """How fast the search found its best."""
    evidence = report.findings.evidence
    found = [
        figures.progress(evidence.study.name, evidence.frame, by_seconds=by_seconds) for by_seconds in (False, True)
    ]
    return _section("Progress", *map(_figure, found))


def common(report: Report) -> Markup | None:
    """What the best have in common."""
    return _section("What the best have in common", bullets(report.findings.common))


def importance(report: Report) -> Markup | None:
    """Which choices mattered."""
    found = report.findings
    picture = _figure(figures.importance_bars(found.importances))
    return _section("Which choices mattered", picture, _note(telling.IMPORTANCE_NOTE))


def effects(report: Report) -> Markup | None:
    """What each option was worth."""
    choices = report.findings.choices
    others = [choice for choice in choices if choice.part != "family"]
    rows = [row for choice in others for row in telling.effect_rows(choice)]
    shown = table(telling.EFFECT_HEAD, rows) if rows else Markup("")
    return _section(
        "What the options were worth", _figure(figures.families_by_stage(choices)), shown, _note(telling.EFFECT_NOTE)
    )


def early(report: Report) -> Markup | None:
    """How far early scores could be trusted."""
    found = report.findings
    pictures = [_figure(figures.early_against_late(found.evidence, pair)) for pair in found.rungs]
    rows = telling.rung_rows(found.rungs)
    shown = table(telling.RUNG_HEAD, rows) if rows else Markup("")
    return _section("Early scores against late ones", shown, *pictures)


def measures(report: Report) -> Markup | None:
    """Whether a score of an untrained network deserved its place."""
    rows = telling.score_rows(report.findings.scores)
    return _section("Costs and free scores against results", table(telling.SCORE_HEAD, rows), _note(telling.SCORE_NOTE))


def winner(report: Report) -> Markup | None:
    """The drawing of the best network."""
    picture = Markup("") if report.drawing is None else tag("figure", Markup(report.drawing))
    return _section("The winner", tag("p", report.winner), picture)


Section = Callable[[Report], Markup | None]
SECTIONS: list[Section] = [
    facts, best_trials, common, costs, progress, importance, effects, early, measures, winner,
]  # fmt: skip
"""The page, from top to bottom. A section is a function of the report; one that returns None is left out."""


def _section(title: str, *parts: str) -> Markup:
    shown = [part for part in parts if part] or [_note("Nothing can be said of this yet.")]
    return tag("section", tag("h2", title), joined(shown))


def _figure(svg: str | None) -> Markup:
    return Markup("") if svg is None else tag("figure", Markup(svg))


def _note(words: str) -> Markup:
    return tag("p", safe(words), class_="note")
