"""`nas.search`: from what a person asked for to a run of the search."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from nas.candidates import ORIGIN, Candidates
from nas.enqueued import enqueue_once
from nas.errors import NasError
from nas.evaluate import Evaluate
from nas.foresight.forecasting import foresee, past_of
from nas.limits import Limits
from nas.objectives import ACCURACY, Objectives
from nas.plugins import load_plugins
from nas.progress import Progress
from nas.pruners import make_pruner
from nas.quantities import parse_count, parse_duration
from nas.result import SearchResult
from nas.samplers import make_sampler
from nas.search_run import SearchRun
from nas.starts import named, starts
from nas.stop import StopSignal
from nas.study import TwinStudy
from nas.training.data import default_data_dir, load_dataset
from nas.training.device import pick_device, versions
from nas.training.distributed import refuse_several
from nas.training.recipe import Recipe, rungs_for
from nas.warm_start import Suggestion, warm_starts
from nas.weights import weights_folder
from nas.workers.choice import open_lanes, parse_workers, pick_devices
from searchspace.architecture import Architecture
from searchspace.space import Task
from searchspace.spaces import find_space
from studies import StudyStore


def search(
    dataset: str = "cifar10",
    *,
    budget: int = 50,
    time_limit: str | float | None = None,
    storage: str = "sqlite:///nas.db",
    study: str | None = None,
    space: str | None = None,
    start_from: str | Sequence[str | Architecture] = (),
    warm_start: str | None = None,
    force: bool = False,
    objective: str = ACCURACY,
    sampler: str = "evolution",
    pruner: str = "rungs",
    seed: int = 0,
    epochs: int = 10,
    batch_size: int = 128,
    optimizer: str = "muon",
    schedule: str = "one_cycle",
    learning_rate: float | None = None,
    label_smoothing: float = 0.1,
    max_params: str | int | None = None,
    max_macs: str | int | None = None,
    limit_train: int | None = None,
    resolution: int | None = None,
    device: str = "auto",
    workers: int | str = 1,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    evaluate: Evaluate | None = None,
) -> SearchResult:
    """Search `space` for the architecture with the best validation accuracy on `dataset`.

    `budget` counts the trials that were trained, over all runs of the study: the same call resumes it, a larger budget
    goes on. `time_limit` ("30m", or seconds) stops taking trials and prunes the running one. `dataset` is a name, a
    folder of images or a .npz file; `space` defaults to what suits its image size and `study` to dataset-space.
    `start_from` is what to train first, if nobody has: references, JSON files, export folders, `trial:17` of the newest
    other study, Architectures. `warm_start` names an earlier study whose best are tried next, fitted to this space; one
    of other data is refused unless `force`.
    `objective` may add costs to be kept small, "val_accuracy,macs": then the study has a Pareto front. With the pruner
    "rungs" a network is trained shortly first, and for all `epochs` if it is among the best (`recipe.rungs_for`).
    The test split is not read. `progress=nas.make_progress()` shows what the command line does; without it nothing is
    printed. `workers` processes train as many trials at once, "auto" as many as fit. `evaluate` replaces the training;
    workers import it, so with them it is a function of a module. Other processes may search the same study at the same
    time and share the budget; within one process, a study is searched once at a time.

    Raises:
        NasError, StoreError: wrong input, named with what to do; nothing is lost.
        RunError: ten trials in a row failed.
        KeyboardInterrupt: a signal came before anything was recorded, or a second one after.
    """
    require_budget(budget)
    refuse_several("nas search", "start it once, with --workers")
    load_plugins()
    limits = Limits(*(None if limit is None else parse_count(limit) for limit in (max_params, max_macs)))
    stop = StopSignal(None if time_limit is None else parse_duration(time_limit))
    recipe = make_recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        learning_rate=learning_rate,
        label_smoothing=label_smoothing,
        rungs=rungs_for(epochs) if pruner == "rungs" else None,
    )
    objectives = objectives_for(objective, pruner)
    chosen_pruner = make_pruner(pruner, recipe.epochs)
    make_sampler(sampler, seed)  # an unknown one is refused before the data are read
    chosen_space = None if space is None else find_space(space)
    found = named(start_from)
    progress = progress or Progress()
    place = pick_device(device)
    workers = parse_workers(workers)
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    with stop, ExitStack() as ends:
        with stop.after(1):
            store = StudyStore(storage)
            data = load_dataset(dataset, data_dir=folder, seed=seed, limit_train=limit_train, resolution=resolution)
            chosen_space = chosen_space or find_space(data.default_space)
            task = Task(channels=data.channels, resolution=data.resolution, classes=len(data.classes))
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            name = f"{data.name}-{chosen_space.name}" if study is None else study
            first = starts(found, data, limits, store, name)
            for note in filter(None, (start.note for start in first)):
                progress.note(note)
            candidates = partial(
                Candidates, space=chosen_space, task=task, limits=limits, sampler=sampler, seed=seed, starts=first
            )
            candidates(study=optuna.create_study()).require_feasible()
            if evaluate is None:
                progress.forecast(
                    lambda: (
                        foresee(
                            space=chosen_space,
                            task=task,
                            limits=limits,
                            dataset=data.to(place) if workers == 1 else data,  # workers have the device
                            recipe=recipe,
                            pruner=pruner,
                            budget=budget,
                            seed=seed,
                            past=past_of(store, name, recipe, data.fingerprint),
                            workers=workers if isinstance(workers, int) else 1,
                            timed=workers == 1
                            or place.type == "cpu",  # a process that trains nothing stays off the GPU
                            time_limit=stop.seconds,
                        ).line
                    )
                )
            origin = {"dataset": source_of(dataset), "seed": seed, "limit_train": limit_train}
            settings = {
                "dataset": data.name,
                "space": chosen_space.name,
                "objective": str(objectives),
                "epochs": recipe.epochs,
                "limit_train": limit_train,
                "resolution": data.resolution,
                "seed": seed,
                "recipe": recipe.settings(),
                "data_fingerprint": data.fingerprint,
                "space_digest": chosen_space.digest,
            }
            warm: tuple[Suggestion, ...] = ()
            if warm_start is not None:
                warm = warm_starts(store, warm_start, chosen_space, name, data.fingerprint, forced=force, seed=seed)
            lanes = open_lanes(workers, evaluate, recipe, data, pick_devices(device, place), progress.note)
            ends.callback(lanes.close)
            twin = TwinStudy.open(store, name, settings, chosen_pruner)
            ends.callback(twin.close)
            if warm:
                enqueue_once(twin.study, "warm_start", lambda: [(each.choices, {ORIGIN: each.origin}) for each in warm])
        run = SearchRun(
            twin=twin,
            candidates=candidates(study=twin.study),
            evaluate=lanes.evaluate,
            lanes=lanes,
            budget=budget,
            seed=seed,
            recipe=recipe,
            facts={
                "recipe": {"training": recipe.model_dump(), "data": {**origin, "resolution": data.resolution}},
                "device": lanes.device,
                "versions": versions(),
                "fingerprint": data.fingerprint,
                "batch_size": recipe.batch_size,
            },
            stop=stop,
            progress=progress,
            weights=weights_folder(store, folder, twin.row.id),
        )
        return replace(run.search(), validation_images=len(data.validation))


def objectives_for(text: str, pruner: str) -> Objectives:
    """What a search is after, which the pruner must know how to judge.

    Raises:
        NasError: no such objectives, or a pruner that compares one value alone.
    """
    found = Objectives.parse(text)
    if found.several and pruner not in ("rungs", "none"):
        raise NasError(f"the pruner {pruner!r} compares accuracies alone: with several objectives take rungs or none")
    return found


def require_budget(budget: int) -> None:
    """Refuse what is not a number of trials."""
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise NasError(f"the budget is the number of trials to train, a whole number of at least 1; given {budget!r}")


def make_recipe(**settings: Any) -> Recipe:
    """A recipe from settings given by a person; None is a setting's default.

    Raises:
        NasError: a setting is out of its range.
    """
    from pydantic import ValidationError

    from searchspace.errors import describe_validation

    try:
        return Recipe(**{name: value for name, value in settings.items() if value is not None})
    except ValidationError as error:
        raise NasError(describe_validation(error)) from None


def source_of(dataset: str) -> str:
    """A dataset's name, or its absolute path, so that it is found from another working directory."""
    return str(Path(dataset).resolve()) if Path(dataset).exists() else dataset
