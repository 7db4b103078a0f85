"""`nas rank` and `nas studies`: SQL and tables, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nas.quantities import show_count, show_duration
from nas.terminal import print_json, say
from studies import StudyStore, all_trials, leaderboard, pareto_front, write_csv

if TYPE_CHECKING:
    from pandas import DataFrame


def rank(storage: str, study: str | None, top: int, pareto: str | None, csv_file: str | None, as_json: bool) -> None:
    store = StudyStore(storage, create=False)
    row = store.study(study)
    if csv_file is not None:
        frame = all_trials(store, row.id)
        write_csv(frame, csv_file)
        say(f"{len(frame)} trials of study {row.name!r} written to {csv_file}")
        if not as_json:
            return
    frame = leaderboard(store, row.id, top) if pareto is None else pareto_front(store, row.id, pareto)  # pyright: ignore[reportArgumentType]
    if as_json:
        print_json({"study": row.name, "trials": records(frame)})
        return
    say(f"study {row.name!r} in {store.url_for_display}; accuracy on the validation split")
    click.echo(_table(frame) if len(frame) else "no trials yet")


def studies(storage: str, as_json: bool) -> None:
    frame = StudyStore(storage, create=False).studies()
    if as_json:
        print_json({"studies": records(frame)})
    else:
        frame["created"] = frame["created"].map(lambda time: f"{time:%Y-%m-%d %H:%M}")
        click.echo(frame.to_string(index=False, na_rep="-") if len(frame) else "no studies yet")


def records(frame: DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON data: NaN becomes null, times become text."""
    clean = frame.astype(object).where(frame.notna(), None)
    return [{str(key): _plain(value) for key, value in row.items()} for row in clean.to_dict("records")]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _table(frame: DataFrame) -> str:
    shown = frame.copy()
    formats = {
        "val_accuracy": lambda value: f"{value:.2%}",
        "params": show_count,
        "macs": show_count,
        "activations": show_count,
        "latency_ms": lambda value: f"{value:.3g}",
        "seconds": show_duration,
        "digest": lambda value: value[:12],
    }
    for column, show in formats.items():
        known = frame[column].notna()
        shown[column] = [show(value) if there else "-" for value, there in zip(frame[column], known, strict=True)]
    for column in ("latency_ms", "reason"):
        if not any(frame[column].notna()):
            shown = shown.drop(columns=column)
    return shown.to_string(index=False, na_rep="-")
