"""What `nas show` and `nas cost` do and print."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from nas.architectures import at_resolution, find_architecture, form_line, form_of
from nas.commands.telling import columns, cost_line, trial_document
from nas.pictures import write_picture
from nas.plugins import load_plugins
from nas.quantities import show_count
from nas.result import open_study
from nas.terminal import print_json, say, word
from nas.training.device import pick_device
from nas.training.latency import measure_latency
from searchspace import Architecture, build
from searchspace import cost as count_cost
from searchspace.table import stage_rows


def show(
    what: str,
    *,
    svg_file: str | None,
    resolution: int | None,
    storage: str,
    study: str | None,
    modules: tuple[str, ...],
    as_json: bool,
) -> None:
    load_plugins(modules)
    number = what.removeprefix("trial:")
    trial = (
        open_study(storage, study).trial(int(number))
        if number.isascii() and number.isdigit() and len(number) < 10
        else None
    )
    architecture = find_architecture(what, storage, study) if trial is None else trial.architecture
    if resolution is not None:
        architecture = at_resolution(what, architecture, resolution)
    form = form_of(what, architecture)
    if svg_file is not None:
        write_picture(Path(svg_file), architecture)
        say(f"picture written to {word(svg_file)}")
        if not as_json:
            return
    rows = stage_rows(architecture)
    if as_json:
        document: dict[str, Any] = {} if trial is None else trial_document(trial)
        document |= {"architecture": architecture.model_dump(mode="json"), "digest": architecture.digest}
        document |= {"form": form, **dataclasses.asdict(count_cost(architecture))}
        print_json(document | {"stages": [dataclasses.asdict(row) for row in rows]})
        return
    if trial is not None:
        accuracy = "" if trial.val_accuracy is None else f", {trial.val_accuracy:.2%} validation accuracy"
        reason = f" ({trial.evaluation.reason})" if trial.evaluation.reason else ""
        click.echo(f"trial {trial.number}: {trial.status.lower()}{accuracy}{reason}, {trial.evaluation.epochs} epochs")
    click.echo(f"{architecture.name or architecture.digest[:12]}: {cost_line(count_cost(architecture))}")
    if form == "cifar":
        click.echo(form_line(architecture))
    click.echo(
        f"images {architecture.channels}x{architecture.resolution}x{architecture.resolution}, "
        f"{architecture.classes} classes, drop path {architecture.drop_path:g}, dropout {architecture.head.dropout:g}"
    )
    click.echo(
        columns(
            [("", "block", "depth", "stride", "channels", "pixels", "params", "MACs", "settings"), *map(_cells, rows)]
        )
    )


def _cells(row: Any) -> tuple[str, ...]:
    counts = (row.depth, row.stride, row.channels, row.resolution)
    return (row.part, row.kind, *map(str, counts), show_count(row.params), show_count(row.macs), row.settings)


def cost(
    what: str,
    *,
    resolution: int | None,
    classes: int | None,
    latency: bool,
    storage: str,
    study: str | None,
    device: str,
    modules: tuple[str, ...],
    as_json: bool,
) -> None:
    load_plugins(modules)
    architecture = find_architecture(f"trial:{what}" if what.isdigit() else what, storage, study)
    architecture = at_resolution(what, architecture, resolution or architecture.resolution)
    architecture = architecture.changed(classes=classes or architecture.classes)
    form = form_of(what, architecture)
    counted = count_cost(architecture)
    measured = _latency(architecture, device) if latency else None
    if as_json:
        document: dict[str, Any] = {"name": architecture.name, "digest": architecture.digest}
        document |= {"form": form, "resolution": architecture.resolution, **dataclasses.asdict(counted)}
        print_json(document | ({"latency": dataclasses.asdict(measured)} if measured else {}))
        return
    click.echo(f"{architecture.name or architecture.digest[:12]} at {architecture.resolution} px: {cost_line(counted)}")
    if form == "cifar":
        click.echo(form_line(architecture))
    click.echo(f"params {counted.params:,}   MACs {counted.macs:,}   activations {counted.activations:,}")
    if measured:
        click.echo(
            f"latency {measured.median_ms:.2f} ms (interquartile range {measured.spread_ms:.2f}), "
            f"batch {measured.batch_size}, {measured.runs} runs, {measured.device}"
        )


def _latency(architecture: Architecture, device: str) -> Any:
    network = build(architecture, device=pick_device(device))
    return measure_latency(network, (architecture.channels, architecture.resolution, architecture.resolution))
