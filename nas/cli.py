"""The command line: each command imports what it needs when it runs, so that `nas --help` answers at once."""

from __future__ import annotations

from typing import Any

import click

from nas import __version__
from nas.errors import NasError
from nas.options import (
    DATA_DIR,
    DATASET,
    DEVICE,
    IMPORT,
    JSON,
    LIMIT_TRAIN,
    LIMITS,
    OTHER_SIZE,
    RECIPE,
    RESOLUTION,
    SEED,
    STORAGE,
    STUDY,
    not_blank,
    options,
)
from nas.terminal import Commands, command_line


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="nas")
def main() -> None:
    """Search, scale, train and export convolutional networks for image classification."""


@main.command()
@options(DATASET)
@click.option(
    "--budget",
    default=50,
    show_default=True,
    type=click.IntRange(1, 10_000_000),
    help="Trials to train, over all runs.",
)
@click.option("--time", "time_limit", metavar="DURATION", help="Stop after 90s, 30m, 8h; the best so far is kept.")
@click.option("--space", help="tiny, cifar, mobile or a registered one (default: what suits the images' size).")
@click.option(
    "--start-from",
    default="",
    metavar="NAMES",
    help="Train these first: references, JSON files, export folders, trial:17 of another study; with commas.",
)
@click.option("--warm-start", metavar="STUDY", help="Then try what this earlier study found best, fitted to the space.")
@click.option("--force", is_flag=True, help="Take --warm-start's study although it was of other images.")
@options(STORAGE)
@click.option("--study", callback=not_blank, help="Name of the study (default: <dataset>-<space>).")
@click.option("--epochs", default=10, show_default=True, type=click.IntRange(1, 100_000), help="Epochs of a trial.")
@options(RECIPE)
@click.option(
    "--objective",
    default="val_accuracy",
    show_default=True,
    metavar="NAMES",
    help="val_accuracy, or with costs to be kept small: val_accuracy,macs (params, activations, latency_ms).",
)
@click.option("--sampler", default="evolution", show_default=True, help="evolution, tpe, random, nsga2 or gp.")
@click.option("--pruner", default="rungs", show_default=True, help="rungs, asha, hyperband, median or none.")
@options(LIMITS, LIMIT_TRAIN, RESOLUTION, SEED, DEVICE)
@click.option("--workers", default="1", show_default=True, metavar="N|auto", help="Processes that train, a trial each.")
@options(DATA_DIR, IMPORT, JSON)
@click.option("--dry-run", is_flag=True, help="Say what it would take, and record nothing.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def search(as_json: bool, modules: tuple[str, ...], quiet: bool, **settings: Any) -> None:
    """Search for the best architecture; the same command resumes, a larger --budget goes on."""
    from nas.commands import search as search_command

    search_command.search(as_json=as_json, modules=modules, quiet=quiet, command=command_line(), **settings)


@main.command()
@options(STORAGE, STUDY)
@click.option("--top", default=10, show_default=True, type=click.IntRange(1), help="How many trials to show.")
@click.option(
    "--pareto",
    type=click.Choice(["params", "macs", "activations", "latency_ms"]),
    help="Show the Pareto front of accuracy and this cost.",
)
@click.option(
    "--csv", "csv_file", type=click.Path(dir_okay=False), help="Write every trial with all its facts to a CSV file."
)
@click.option(
    "--svg", "svg_file", type=click.Path(dir_okay=False), help="With --pareto: write its picture to an SVG file too."
)
@options(JSON)
def rank(
    storage: str,
    study: str | None,
    top: int,
    pareto: str | None,
    csv_file: str | None,
    svg_file: str | None,
    as_json: bool,
) -> None:
    """Rank the trials by validation accuracy."""
    from nas.commands import rank as rank_command

    _refuse_together(pareto is not None and given("top"), "--pareto shows the whole front", "--top")
    _refuse_together(
        csv_file is not None and not as_json and (pareto is not None or given("top")),
        "--csv writes every trial",
        "--top and --pareto",
    )
    if svg_file is not None and pareto is None:
        raise NasError("--svg draws accuracy against a cost: name it with --pareto params, macs or activations")

    rank_command.rank(storage, study, top, pareto, csv_file, svg_file, as_json)


@main.command()
@options(STORAGE, STUDY)
@click.option(
    "--html",
    metavar="FILE",
    callback=not_blank,
    help="Write a report with pictures to this new file, complete in itself.",
)
@options(IMPORT, JSON)
def explain(storage: str, study: str | None, html: str | None, modules: tuple[str, ...], as_json: bool) -> None:
    """Explain what a study learnt: which choices mattered, how far early scores could be trusted."""
    from nas.commands import explain as explain_command

    explain_command.explain(storage, study, html, modules, as_json)


def given(option: str) -> bool:
    """Whether the option was typed or set, rather than left at its default."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT


def _refuse_together(both: bool, first: str, second: str) -> None:
    if both:
        raise NasError(f"{first}: leave out {second}")


@main.command()
@options(STORAGE, JSON)
def studies(storage: str, as_json: bool) -> None:
    """List the studies of the database."""
    from nas.commands import rank as rank_command

    rank_command.studies(storage, as_json)


@main.command()
@click.argument("what")
@click.option(
    "--svg", "svg_file", type=click.Path(dir_okay=False), help="Write a picture of the network to an SVG file."
)
@options(OTHER_SIZE, STORAGE, STUDY, IMPORT, JSON)
def show(what: str, modules: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Show a trial (17), a reference (resnet18), a JSON file or an export folder, stage by stage."""
    from nas.commands import show as show_command

    show_command.show(what, modules=modules, as_json=as_json, **settings)


@main.command()
@click.argument("what")
@options(OTHER_SIZE)
@click.option("--classes", type=click.IntRange(1), help="Number of classes (default: the architecture's).")
@click.option("--latency", is_flag=True, help="Measure the time of a forward pass too.")
@options(STORAGE, STUDY, DEVICE, IMPORT, JSON)
def cost(what: str, modules: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Count parameters, multiply-adds (MACs) and activations of an architecture."""
    from nas.commands import show as show_command

    show_command.cost(what, modules=modules, as_json=as_json, **settings)


@main.command()
@click.argument("what")
@options(LIMITS)
@click.option("--phi", metavar="NUMBERS", help="A family instead: 1,2,3 gives 2, 4 and 8 times the multiply-adds.")
@click.option("--direction", metavar="NAME", help="How to grow or shrink (default: all, and what suits the images).")
@click.option("--resolution-range", metavar="LOW,HIGH", help="Pixels that images may have (default: docs/scaling.md).")
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(1, 65536), help="For --max-memory.")
@options(OTHER_SIZE)
@click.option("--classes", type=click.IntRange(1), help="Number of classes (default: the architecture's).")
@click.option("--out", metavar="FILE", help="Write the network to this new .json file, for nas train and nas show.")
@click.option(
    "--fit", is_flag=True, help="Train each direction's network of twice the size shortly, and take the best."
)
@click.option("--train", is_flag=True, help="Train the networks of --phi as trials are trained, and rank them.")
@click.option(
    "--epochs", type=click.IntRange(1, 100_000), help="Of --fit (default: the study's shortest training, or 4)."
)
@click.option("--seeds", type=int, help="Trainings of each network of --fit (default: 2).")
@click.option("--dataset", metavar="DATA", help="Images for --fit and --train (default: the trial's study's).")
@options(LIMIT_TRAIN)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Of the trainings (default: the study's, or 0).")
@options(STORAGE, STUDY, DEVICE, DATA_DIR, IMPORT, JSON)
def scale(what: str, modules: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Scale a network up or down: trial:17, a reference, a JSON file or an export folder.

    Nothing is trained without --fit or --train; what --fit learnt holds for later sizes of the same trial.
    """
    from nas.commands import scale as scale_command

    scale_command.scale(what, modules=modules, as_json=as_json, **settings)


@main.command()
@click.argument("architecture")
@options(DATASET)
@click.option(
    "--recipe",
    type=click.Choice(["trial", "final"]),
    default="trial",
    show_default=True,
    help="As a trial of a search, or the long training of its winner, which the same command resumes.",
)
@click.option("--epochs", type=click.IntRange(1, 100_000), help="Default: 10, and 100 for --recipe final.")
@click.option("--compile", is_flag=True, help="Train through torch.compile; with --recipe final alone.")
@options(RECIPE, LIMIT_TRAIN, RESOLUTION, SEED, DEVICE, DATA_DIR, STORAGE, STUDY)
@click.option(
    "--boost",
    type=click.Choice(["autoencoder", "random"]),
    help="Put 8 channels from a frozen learner beside the images: an auto-encoder, or the control, a random one.",
)
@click.option("--pretrained", is_flag=True, help="Start from torchvision's weights of this reference: fine-tune them.")
@click.option("--weights", metavar="FILE", help="Start from a .safetensors file or a state dict: fine-tune them.")
@click.option("--out", help="Write the trained network to this new folder.")
@options(IMPORT, JSON)
def train(modules: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Train one ARCHITECTURE: a reference's name, a JSON file, an export folder, or trial:17."""
    from nas.commands import train as train_command

    train_command.train(modules=modules, as_json=as_json, **settings)


@main.command()
@options(STORAGE, STUDY)
@click.option("--top", default=5, show_default=True, type=click.IntRange(1), help="How many leaders to train.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 1000), help="Trainings of each network.")
@click.option("--epochs", type=click.IntRange(1, 100_000), help="Epochs of each training (default: 100).")
@click.option(
    "--baselines",
    default="resnet20,densenet_bc_100_12,mobilenet_v2,random",
    show_default=True,
    metavar="NAMES",
    help="References scaled to the leaders' cost, random: the best of a few drawn ones; with commas; or none.",
)
@click.option("--dataset", help="Where the study's images are now, if they moved.")
@options(DEVICE, DATA_DIR, IMPORT, JSON)
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def confirm(as_json: bool, modules: tuple[str, ...], quiet: bool, **settings: Any) -> None:
    """Train a study's leaders long with several seeds, beside baselines of equal cost; the same command resumes."""
    from nas.commands import confirm as confirm_command

    confirm_command.confirm(as_json=as_json, modules=modules, quiet=quiet, command=command_line(), **settings)


@main.command()
@click.option("--trial", type=click.IntRange(0), help="Trial number (default: the best).")
@click.option("--out", default="exports/best", show_default=True, help="New folder to write.")
@click.option(
    "--weights",
    type=click.Choice(["full", "stored", "confirmed"]),
    default="full",
    show_default=True,
    help="Train anew with the full recipe, or take the search's weights, or those of the winner of nas confirm.",
)
@click.option(
    "--epochs", type=click.IntRange(1, 100_000), help="Epochs of the full recipe (default: 4 times the search's)."
)
@click.option("--dataset", help="Where the study's images are now, if they moved.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["onnx", "pt2"]),
    help="Write model.onnx or model.pt2 (torch.export) into the folder too; may be given twice.",
)
@options(STORAGE, STUDY, DEVICE, DATA_DIR, IMPORT, JSON)
def export(modules: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Write a trained network as a folder that `nas.load` opens anywhere."""
    from nas.commands import export as export_command

    export_command.export(modules=modules, as_json=as_json, **settings)


@main.command()
@click.argument("folder")
@click.argument("file")
@options(IMPORT, JSON)
def convert(folder: str, file: str, modules: tuple[str, ...], as_json: bool) -> None:
    """Write an exported network to a new FILE for other runtimes: net.onnx (ONNX) or net.pt2 (torch.export)."""
    from nas.commands import export as export_command

    export_command.convert(folder, file, modules, as_json)


@main.command()
@click.argument("folder")
@click.argument("images", nargs=-1, required=True)
@options(DEVICE, IMPORT, JSON)
def predict(folder: str, images: tuple[str, ...], device: str, modules: tuple[str, ...], as_json: bool) -> None:
    """Classify image files with an exported network."""
    from nas.commands import export as export_command

    export_command.predict(folder, images, device, modules, as_json)


@main.command()
@options(STORAGE, IMPORT)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
def dashboard(storage: str, modules: tuple[str, ...], port: int) -> None:
    """Open optuna-dashboard on the database, on this machine's loopback address alone."""
    from nas import dashboard as dashboards

    dashboards.serve(storage, port, modules)


if __name__ == "__main__":
    main()
