"""What `nas export`, `nas convert` and `nas predict` do and print."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from nas.commands.telling import epoch_line, interruptible
from nas.plugins import load_plugins
from nas.result import open_study
from nas.terminal import print_json, say, word
from nas.trained import TrainedNetwork
from nas.training.device import pick_device
from nas.training.memory import keep_memory


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
    with interruptible() as stop:
        written = export_trial(open_study(storage, study), out, say=say, progress=epoch_line, stop=stop, **settings)
    card, out = written.network.card, str(written.folder)
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
