"""`nas.forecast`: what a search would meet and take, without recording anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna

from nas.candidates import Candidates
from nas.foresight.forecasting import THOROUGH, Past, foresee, past_of
from nas.foresight.outlook import Forecast
from nas.limits import Limits
from nas.objectives import ACCURACY
from nas.plugins import load_plugins
from nas.pruners import make_pruner
from nas.quantities import parse_count, parse_duration
from nas.samplers import make_sampler
from nas.searching import make_recipe, objectives_for, require_budget
from nas.starts import named, starts
from nas.training.data import default_data_dir, load_dataset
from nas.training.device import pick_device
from nas.training.recipe import rungs_for
from nas.warm_start import warm_starts
from nas.workers.choice import parse_workers
from searchspace.architecture import Architecture
from searchspace.space import Task
from searchspace.spaces import find_space
from studies import StudyStore, database_exists


def forecast(
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
) -> Forecast:
    """What `nas.search` with the same arguments would meet and take: half a minute at most, and nothing is recorded.

    A few hundred networks are drawn and counted, and some of them trained for a few steps. A study that has trials
    tells the time by them. A database that is not there is not made.

    Raises:
        NasError, StoreError: wrong input, as `nas.search` refuses it.
    """
    require_budget(budget)
    load_plugins()
    limits = Limits(*(None if limit is None else parse_count(limit) for limit in (max_params, max_macs)))
    seconds = None if time_limit is None else parse_duration(time_limit)
    recipe = make_recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        learning_rate=learning_rate,
        label_smoothing=label_smoothing,
        rungs=rungs_for(epochs) if pruner == "rungs" else None,
    )
    objectives_for(objective, pruner)
    make_pruner(pruner, recipe.epochs)
    make_sampler(sampler, seed)
    chosen_space = None if space is None else find_space(space)
    found = named(start_from)
    place = pick_device(device)
    at_once = parse_workers(workers)
    store = StudyStore(storage, create=False) if database_exists(storage) else None
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    data = load_dataset(dataset, data_dir=folder, seed=seed, limit_train=limit_train, resolution=resolution)
    chosen_space = chosen_space or find_space(data.default_space)
    task = Task(channels=data.channels, resolution=data.resolution, classes=len(data.classes))
    name = f"{data.name}-{chosen_space.name}" if study is None else study
    starts(found, data, limits, store, name)
    if warm_start is not None:
        earlier = store or StudyStore(storage, create=False)  # which says that there is none
        warm_starts(earlier, warm_start, chosen_space, name, data.fingerprint, forced=force, seed=seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    Candidates(optuna.create_study(), chosen_space, task, limits, sampler, seed).require_feasible()
    return foresee(
        space=chosen_space,
        task=task,
        limits=limits,
        dataset=data.to(place),
        recipe=recipe,
        pruner=pruner,
        budget=budget,
        seed=seed,
        past=Past() if store is None else past_of(store, name, recipe, data.fingerprint),
        workers=at_once if isinstance(at_once, int) else 1,
        time_limit=seconds,
        effort=THOROUGH,
    )
