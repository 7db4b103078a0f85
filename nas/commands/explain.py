"""`nas explain`: what a study learnt, as tables, as JSON, and as one HTML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from nas.errors import NasError
from nas.explaining import telling
from nas.explaining.findings import Findings, explain_study
from nas.files import write_new
from nas.study_limits import show_limits
from nas.terminal import print_json, say, word
from studies import StudyStore


def explain(storage: str, study: str | None, html: str | None, modules: tuple[str, ...], as_json: bool) -> None:
    if html is not None:
        refuse_existing(Path(html))
    store = StudyStore(storage, create=False)
    found = explain_study(store, store.study(study))
    if html is not None:
        _write_page(store, found, Path(html), modules)
        say(f"report written to {word(html)}")
    if as_json:
        print_json(found.document())
    elif html is None:
        _tell(found, store.url_for_display)


def refuse_existing(file: Path) -> None:
    """A report is not written over anything; said before the work is done."""
    if os.path.lexists(file):
        raise NasError(f"{str(file)!r} exists: name a new file, or remove it first")


def _write_page(store: StudyStore, found: Findings, file: Path, modules: tuple[str, ...]) -> None:
    from nas.report.gathering import gather
    from nas.report.page import write_page

    page = write_page(gather(store, found, modules)).encode("utf-8", "replace")
    try:
        written = write_new(file, page)
    except OSError as error:
        raise NasError(f"cannot write the report to {str(file)!r}: {error.strerror}") from None
    if not written:
        refuse_existing(file)


def _tell(found: Findings, database: str) -> None:
    evidence = found.evidence
    held = show_limits(dict(evidence.limits))
    say(f"study {evidence.study.name!r} in {database}{f', held to {held}' if held else ''}")
    if found.warning:
        say(f"{found.warning}.")
    click.echo(f"{len(evidence.trials)} trials with a score; accuracy on the validation split")
    _table("What the best have in common", (), [(f"- {sentence}",) for sentence in found.common])
    _table("Which choices mattered", telling.IMPORTANCE_HEAD, telling.importance_rows(found.importances))
    _table(
        "What the options were worth, in percentage points",
        telling.EFFECT_HEAD,
        [row for choice in found.choices for row in telling.effect_rows(choice)],
    )
    _table(
        f"Early scores against late ones ({'ends of rungs' if evidence.rungs else 'one schedule'})",
        telling.RUNG_HEAD,
        telling.rung_rows(found.rungs),
    )
    _table("Costs and free scores against results", telling.SCORE_HEAD, telling.score_rows(found.scores))


def _table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    click.echo(f"\n{title}")
    click.echo(aligned([head, *rows] if head else rows) if rows else "  nothing can be said of this yet")


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Cells in columns, indented: the first to the left, the others to the right but for the last."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)
