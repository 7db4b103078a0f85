"""What `nas confirm` does and prints."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from nas.confirming.confirmation import confirm as run
from nas.confirming.result import Confirmation
from nas.confirming.watch import make_watch
from nas.confirming.words import conclusions, table
from nas.errors import RunError
from nas.plugins import load_plugins
from nas.stop import Interrupted, StopSignal
from nas.terminal import DEFAULT_STORAGE, fail, print_json, say, word
from nas.training.memory import keep_memory


def confirm(*, as_json: bool, modules: tuple[str, ...], quiet: bool, command: str, **settings: Any) -> None:
    load_plugins(modules)
    keep_memory()
    with StopSignal() as stop:
        try:
            with make_watch(quiet) as watch:
                found = run(watch=watch, stop=stop, **settings)
        except (RunError, Interrupted) as error:
            if stop.signal is None:
                raise
            fail(f"{error}; nothing recorded is lost, resume with: {command}", 128 + stop.signal)
    if as_json:
        print_json(document(found))
        return
    for line in _aligned(table(found)):
        click.echo(line)
    for line in conclusions(found):
        click.echo(line)
    options = "".join(f" --import {word(module)}" for module in modules)
    if settings["storage"] != DEFAULT_STORAGE:
        options += f" --storage {word(settings['storage'])}"
    say(f"next: nas export --weights confirmed --study {word(found.study.name)}{options}")


def document(found: Confirmation) -> dict[str, Any]:
    """The confirmation for a script: the table's lines, the winner, and how sure that is."""
    lead = found.lead
    return {
        "study": found.study.name,
        "epochs": found.epochs,
        "seeds": found.seeds,
        "winner": found.winner.contestant.trial,
        "sure": found.sure,
        "lead": None if lead is None else dataclasses.asdict(lead),
        "macs": found.macs,
        "validation_images": found.validation_images,
        "test_images": found.test_images,
        "networks": found.lines,
        "left_out": dict(found.left_out),
        "random_search": None if found.random_search is None else dataclasses.asdict(found.random_search),
    }


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
