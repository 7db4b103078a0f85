"""What the commands that need torch do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from nas.architectures import at_resolution, find_architecture, form_line, form_of
from nas.errors import RunError
from nas.pictures import write_picture
from nas.plugins import load_plugins
from nas.progress import make_progress
from nas.quantities import show_count, show_duration
from nas.result import SearchResult, TrialResult, open_study
from nas.stop import Interrupted, StopSignal
from nas.terminal import DEFAULT_STORAGE, fail, print_json, say, speaks, word
from nas.trained import TrainedNetwork
from nas.training.device import pick_device
from nas.training.latency import measure_latency
from nas.training.memory import keep_memory
from nas.training.score import EpochScore
from searchspace import Architecture, build
from searchspace import cost as count_cost
from searchspace.table import stage_rows


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
    from nas.dry_run import forecast

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
    }


def trial_document(trial: TrialResult) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "status": trial.status,
        "val_accuracy": trial.val_accuracy,
        **dataclasses.asdict(trial.cost),
        "epochs": trial.evaluation.epochs,
        "seconds": trial.evaluation.seconds,
        "reason": trial.evaluation.reason,
        "digest": trial.evaluation.digest,
        "architecture": trial.architecture.model_dump(mode="json"),
        "base": trial.base.model_dump(mode="json"),
    }


def _say_best(result: SearchResult, options: str) -> None:
    """The best trial, and the commands that go on from it; `options` are those that they need too."""
    found = result.store.best(result.study.id)
    if found is None:
        say("no trial has a score yet")
        return
    best = TrialResult(found)
    accuracy = "" if best.val_accuracy is None else f"{best.val_accuracy:.2%} validation accuracy, "
    click.echo(f"best: trial {best.number}, {accuracy}{cost_line(best.cost)}")
    options = f"--study {word(result.study.name)}{options}"
    say(f"next: nas show {best.number} {options}")
    say(f"      nas export {options}")


def cost_line(cost: Any) -> str:
    return f"{show_count(cost.params)} params, {show_count(cost.macs)} MACs, {show_count(cost.activations)} activations"


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
        _table(
            [("", "block", "depth", "stride", "channels", "pixels", "params", "MACs", "settings"), *map(_cells, rows)]
        )
    )


def _cells(row: Any) -> tuple[str, ...]:
    counts = (row.depth, row.stride, row.channels, row.resolution)
    return (row.part, row.kind, *map(str, counts), show_count(row.params), show_count(row.macs), row.settings)


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[2:-1], widths[2:], strict=True)]
        lines.append("  ".join([*left, *right, row[-1]]).rstrip())
    return "\n".join(lines)


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


def epoch_line(score: EpochScore, epochs: int) -> None:
    say(
        f"epoch {score.epoch}/{epochs}: validation accuracy {score.val_accuracy:.2%}, loss {score.train_loss:.3f}, "
        f"{score.images_per_second:.0f} images/s, about {show_duration(score.seconds * (epochs - score.epoch))} left"
    )


@contextmanager
def _interruptible() -> Iterator[StopSignal]:
    """A stop that listens for signals; a run that one of them ended exits as the shell expects: 130, 143."""
    with StopSignal() as stop:
        try:
            yield stop
        except RunError as error:
            if stop.signal is not None:
                fail(str(error), 128 + stop.signal)
            raise


def train(*, modules: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    from nas.single import train as run

    load_plugins(modules)
    keep_memory()
    with _interruptible() as stop:
        done = run(say=say, progress=epoch_line, stop=stop, **settings)
    if not speaks():
        return
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    test = "no test split" if done.test_accuracy is None else f"test accuracy {done.test_accuracy:.2%}"
    if done.test_accuracy_flipped is not None:
        test += f" ({done.test_accuracy_flipped:.2%} averaged with the mirrored image)"
    click.echo(
        f"{done.architecture} on {done.dataset}: validation accuracy {done.val_accuracy:.2%}, {test}, "
        f"{show_count(done.params)} params, {done.epochs} epochs in {show_duration(done.seconds)}"
    )
    if done.out is not None:
        say(f"written to {word(done.out)}; open it with: nas predict {word(done.out)} IMAGE")


def export(
    *,
    modules: tuple[str, ...],
    as_json: bool,
    storage: str,
    study: str | None,
    out: str,
    formats: tuple[str, ...],
    **settings: Any,
) -> None:
    from nas.exporting import export_trial
    from nas.formats import require_packages

    load_plugins(modules)
    for name in formats:
        require_packages(name)
    keep_memory()
    with _interruptible() as stop:
        written = export_trial(open_study(storage, study), out, say=say, progress=epoch_line, stop=stop, **settings)
    card = written.network.card
    files = [_convert(written.network, Path(out) / f"model.{name}") for name in dict.fromkeys(formats)]
    if as_json:
        print_json({"folder": str(Path(out).resolve()), **card.model_dump(mode="json"), "files": files})
        return
    test = "no test split" if written.test_accuracy is None else f"test accuracy {written.test_accuracy:.2%}"
    click.echo(f"trial {card.trial} written to {word(out)}: validation accuracy {written.val_accuracy:.2%}, {test}")
    say(f"open it with: nas predict {word(out)} IMAGE, or in Python: nas.load({out!r})")


def convert(folder: str, file: str, modules: tuple[str, ...], as_json: bool) -> None:
    from nas.bundle import load
    from nas.formats import require_new

    load_plugins(modules)
    require_new(file)
    written = _convert(load(folder), Path(file))
    if as_json:
        print_json(written)


def _convert(network: TrainedNetwork, file: Path) -> dict[str, Any]:
    """Write the file, say so, and return the facts of it that a script needs."""
    from nas.formats import convert

    written = convert(network, file)
    say(
        f"{word(str(file))}: {written.bytes:,} bytes; its logits differ from the network's by at most "
        f"{written.largest_logit_difference:.1g}"
    )
    return {**dataclasses.asdict(written), "file": str(file.resolve())}


def predict(folder: str, images: tuple[str, ...], device: str, modules: tuple[str, ...], as_json: bool) -> None:
    from nas.bundle import load

    load_plugins(modules)
    network = load(folder, device=pick_device(device))
    found = network.predict(list(images))
    assert isinstance(found, list)
    pairs = list(zip(images, found, strict=True))
    if as_json:
        print_json({"predictions": [{"image": image, **p.model_dump(mode="json")} for image, p in pairs]})
        return
    for image, prediction in pairs:
        best = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:3]
        click.echo(f"{image}: " + ", ".join(f"{label} {probability:.1%}" for label, probability in best))
