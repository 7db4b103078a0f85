"""`nas.search`: from what a person asked for to a run of the search."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from nas.asked import Asked
from nas.candidates import ORIGIN
from nas.enqueued import enqueue_once
from nas.evaluate import Evaluate
from nas.objectives import ACCURACY
from nas.plan import Plan
from nas.pool_start import enqueue_pool
from nas.progress import Progress
from nas.result import SearchResult
from nas.search_run import SearchRun
from nas.stop import StopSignal
from nas.study import TwinStudy
from nas.training.device import versions
from nas.training.distributed import refuse_several
from nas.trial_cost import RECENT, TrialCost
from nas.weights import weights_folder
from nas.workers.choice import open_lanes, pick_devices
from searchspace.architecture import Architecture
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
    max_activations: str | int | None = None,
    max_memory: str | int | None = None,
    max_latency: str | float | None = None,
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
    Limits (`max_params` to `max_latency`: 500k, 8G, 5ms) are kept before training; a latency is measured on `device`.
    No trial may cost so much that it eats the budget (`nas.trial_cost.TrialCost`); what is started from may.
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
    asked = Asked.of(locals())
    refuse_several("nas search", "start it once, with --workers")
    asked.check()
    stop, progress = StopSignal(asked.seconds), progress or Progress()
    with stop, ExitStack() as ends:
        with stop.after(1):
            store = StudyStore(storage)
            plan = Plan.of(asked, store)
            _tell(plan, progress, trained=evaluate is None)
            devices = pick_devices(device, asked.place)
            lanes = open_lanes(asked.at_once, evaluate, asked.recipe, plan.data, devices, progress.note)
            ends.callback(lanes.close)
            twin = TwinStudy.open(store, plan.study, plan.settings, asked.chosen_pruner)
            ends.callback(twin.close)
            _begin(plan, twin, stop, progress, trained=evaluate is None)
            price = TrialCost(plan.space, plan.task, asked.limits, asked.recipe.rung_ends[-1], asked.seconds)
        run = SearchRun(
            twin=twin,
            candidates=plan.candidates(twin.study, bound=lambda: price.bound(store.durations(twin.row.id, RECENT))),
            evaluate=lanes.evaluate,
            lanes=lanes,
            budget=budget,
            seed=seed,
            recipe=asked.recipe,
            facts={
                "recipe": {"training": asked.recipe.model_dump(), "data": plan.origin},
                "device": lanes.device,
                "versions": versions(),
                "fingerprint": plan.data.fingerprint,
                "batch_size": asked.recipe.batch_size,
            },
            stop=stop,
            progress=progress,
            weights=weights_folder(store, asked.folder, twin.row.id),
        )
        return replace(run.search(), validation_images=len(plan.data.validation))


def _tell(plan: Plan, progress: Progress, *, trained: bool) -> None:
    """What a person is told before anything is recorded: what became of names, and the time that it will take."""
    place = plan.asked.place
    if plan.stopwatch is not None and place.type == "cuda" and plan.asked.at_once != 1:
        progress.note(f"latencies are measured in this process on {place}, beside the workers that train there")
    for note in filter(None, (start.note for start in plan.starts)):
        progress.note(note)
    if trained:
        progress.forecast(lambda: plan.outlook.line)


def _begin(plan: Plan, twin: TwinStudy, stop: StopSignal, progress: Progress, *, trained: bool) -> None:
    """Put into a new study's queue what it is to begin with."""
    asked = plan.asked
    if plan.suggestions:
        known = [(each.choices, {ORIGIN: each.origin}) for each in plan.suggestions]
        enqueue_once(twin.study, "warm_start", lambda: known)
    if trained:
        enqueue_pool(
            twin.study,
            plan.space,
            plan.task,
            asked.limits,
            plan.data,
            forecast=lambda: plan.outlook,
            sampler=asked.sampler,
            budget=asked.budget,
            epochs=asked.recipe.epochs,
            seed=asked.seed,
            device=asked.place,
            stop=lambda: stop.late,
            say=progress.note,
        )
