"""What `nas train` does and prints."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from nas.commands.telling import epoch_line, interruptible
from nas.plugins import load_plugins
from nas.quantities import show_count, show_duration
from nas.terminal import print_json, say, speaks, word
from nas.training.memory import keep_memory


def train(*, modules: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    from nas.single import train as run

    load_plugins(modules)
    keep_memory()
    with interruptible() as stop:
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
