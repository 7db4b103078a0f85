"""The options that several commands share, each with its words and its check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from nas.terminal import DEFAULT_STORAGE

STORAGE = click.option(
    "--storage",
    envvar="NAS_STORAGE",
    default=DEFAULT_STORAGE,
    show_default=True,
    show_envvar=True,
    help="SQLAlchemy URL of the database.",
)


def not_blank(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty")
    return value


STUDY = click.option("--study", callback=not_blank, help="Name of the study (default: the newest).")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
SEED = click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1), help="Seed of everything random."
)
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
DATA_DIR = click.option(
    "--data-dir", envvar="NAS_DATA_DIR", show_envvar=True, help="Where downloads are kept (default: the user's cache)."
)
IMPORT = click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Import a module that registers blocks, spaces or datasets.",
)
DATASET = click.option(
    "--dataset",
    default="cifar10",
    show_default=True,
    help="cifar10, cifar100, digits, a folder with train/<class>/*, or a .npz file.",
)
LIMIT_TRAIN = click.option(
    "--limit-train",
    type=click.IntRange(2),
    metavar="N",
    help="Use N images, stratified, for training and validation together.",
)
RESOLUTION = click.option(
    "--resolution", type=click.IntRange(4, 1024), metavar="PIXELS", help="Scale the images to this size."
)
OTHER_SIZE = click.option(
    "--resolution",
    type=click.IntRange(1, 4096),
    metavar="PIXELS",
    help="Image size (default: the architecture's); a reference takes its CIFAR form for 64 pixels and below.",
)


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several shared options as one decorator, shown in this order."""

    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


RECIPE = options(
    click.option("--batch-size", default=128, show_default=True, type=click.IntRange(2, 65536)),
    click.option("--optimizer", default="muon", show_default=True, type=click.Choice(["muon", "sgd", "adam"])),
    click.option(
        "--schedule",
        default="one_cycle",
        show_default=True,
        type=click.Choice(["one_cycle", "plateau"]),
        help="One cycle, or lower the rate when the training loss stays.",
    ),
    click.option(
        "--learning-rate", type=float, help="Peak for 256 images a batch (default: the optimizer's; docs/training.md)."
    ),
    click.option("--label-smoothing", default=0.1, show_default=True, type=float, help="0 switches it off."),
)

LIMITS = options(
    click.option("--max-params", metavar="COUNT", help="Most parameters: 500k, 1M, 2.5G."),
    click.option("--max-macs", metavar="COUNT", help="Most multiply-adds for one image."),
    click.option("--max-activations", metavar="COUNT", help="Most outputs of convolutions and linear layers."),
    click.option("--max-memory", metavar="BYTES", help="Most bytes of tensors while training, by estimate: 500M, 8G."),
    click.option("--max-latency", metavar="TIME", help="Most time for one image, as measured here: 5ms."),
)
