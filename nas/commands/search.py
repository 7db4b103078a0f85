"""What `nas search` does and prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import click

from nas.commands.telling import cost_line, trial_document
from nas.confirming.doubt import doubt_about
from nas.objectives import Objectives
from nas.plugins import load_plugins
from nas.progress import make_progress
from nas.quantities import show_count
from nas.result import SearchResult, TrialResult
from nas.stop import Interrupted
from nas.terminal import DEFAULT_STORAGE, fail, print_json, say, word
from nas.training.memory import keep_memory
from studies import COMPLETE, CostName


def search(
    *, as_json: bool, modules: tuple[str, ...], quiet: bool, command: str, dry_run: bool, **settings: Any
) -> None:
    from nas.searching import search as run

    load_plugins(modules)
    options = "".join(f" --import {word(module)}" for module in modules)
    if settings["storage"] != DEFAULT_STORAGE:
        options += f" --storage {word(settings['storage'])}"
    keep_memory()
    if dry_run:
        _forecast(as_json, settings)
        return
    resume = f"interrupted; nothing is lost, resume with: {command}"
    try:
        with make_progress(quiet) as progress:
            result = run(progress=progress, **settings)
    except Interrupted as error:
        fail(resume, 128 + error.signal)
    if as_json:
        print_json(search_document(result))
    else:
        say(f"search ended: {result.ended}")
        _say_best(result, options)
    if result.signal is not None:
        fail(resume, 128 + result.signal)


def _forecast(as_json: bool, settings: dict[str, Any]) -> None:
    from nas.foresight.dry_run import forecast

    found = forecast(**settings)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    for line in found.table:
        click.echo(line)


def search_document(result: SearchResult) -> dict[str, Any]:
    found = result.store.best(result.study.id)
    return {
        "study": result.study.name,
        "storage": result.store.url_for_display,
        "ended": result.ended,
        "slots": result.store.slot_counts(result.study.id),
        "best": None if found is None else trial_document(TrialResult(found)),
        "fronts": {cost: [int(number) for number in result.pareto_front(cost)["trial"]] for cost in costs_of(result)},
    }


def costs_of(result: SearchResult) -> tuple[CostName, ...]:
    """The costs among the study's objectives."""
    return Objectives.parse(str(result.study.settings["objective"])).costs  # pyright: ignore[reportReturnType]


def front_lines(result: SearchResult) -> Iterator[str]:
    """For each cost among the objectives, where the front of it and the accuracy begins and ends."""
    for cost in costs_of(result):
        front = result.pareto_front(cost)
        if len(front):
            ends = (front.iloc[0], front.iloc[-1])
            low, high = (f"{row.val_accuracy:.2%} with {_amount(cost, row[cost])} (trial {row.trial})" for row in ends)
            yield f"front of accuracy and {cost}: {len(front)} networks, from {low} to {high}"


def _amount(cost: str, value: float) -> str:
    return f"{value:.3g} ms" if cost == "latency_ms" else f"{show_count(value)} {'MACs' if cost == 'macs' else cost}"


def _say_best(result: SearchResult, options: str) -> None:
    """The best trial, and the commands that go on from it; `options` are those that they need too."""
    found = result.store.best(result.study.id)
    if found is None:
        say("no trial has a score yet")
        return
    best = TrialResult(found)
    accuracy = "" if best.val_accuracy is None else f"{best.val_accuracy:.2%} validation accuracy, "
    complete = best.status == COMPLETE
    cut = "" if complete else f"; it was stopped after {best.evaluation.epochs} epochs, and no trial is complete"
    click.echo(f"best: trial {best.number}, {accuracy}{cost_line(best.cost)}{cut}")
    for line in front_lines(result):
        click.echo(line)
    if (doubt := doubt_about(result)) is not None:
        say(doubt)
    options = f"--study {word(result.study.name)}{options}"
    fronts = [f"nas rank --pareto {cost} {options}" for cost in costs_of(result)]
    confirm = [f"nas confirm {options}"] if complete else []
    going_on = [*fronts, *confirm, f"nas show {best.number} {options}", f"nas export {options}"]
    for place, command in enumerate(going_on):
        say(f"{'      ' if place else 'next: '}{command}")
