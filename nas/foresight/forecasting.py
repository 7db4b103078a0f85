"""What a search will take, said before it is spent: networks, their cost, seconds a trial, hours of the budget."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from statistics import fmean

from nas.draws import Proposal
from nas.errors import NasError
from nas.foresight.outlook import Forecast
from nas.foresight.survey import Spread, Survey, survey
from nas.limits import Limits
from nas.meter import Stopwatch
from nas.pruners.expected import expected_epochs
from nas.training.data import Dataset
from nas.training.footprint import training_bytes
from nas.training.recipe import Recipe
from nas.training.seeds import derive_seed
from nas.training.timing import TimeModel, Timing, fit, time_training
from searchspace.space import SearchSpace, Task
from studies import StudyStore, UnknownStudy

RECORDS = 0.3  # seconds of a trial beside its training, for asking and recording (docs/benchmarks.md, Start-up)
TELLING = 3  # trials of the study itself, from which on their mean is a better measure than a few steps


@dataclass(frozen=True)
class Effort:
    """How much a forecast may look at: networks drawn and timed, and the seconds for each of the two."""

    draws: int
    draw_seconds: float
    networks: int
    seconds: float
    steps: int
    validated: int


THOROUGH = Effort(draws=300, draw_seconds=10.0, networks=9, seconds=20.0, steps=2, validated=512)
QUICK = Effort(draws=50, draw_seconds=0.5, networks=3, seconds=1.5, steps=1, validated=64)  # ahead of every search


@dataclass(frozen=True)
class Past:
    """What the study holds already: slots of the budget that are spent, and the mean seconds of a trained trial."""

    done: int = 0
    seconds: float | None = None


def foresee(
    *,
    space: SearchSpace,
    task: Task,
    limits: Limits,
    dataset: Dataset,
    recipe: Recipe,
    pruner: str,
    budget: int,
    seed: int,
    past: Past,
    workers: int = 1,
    time_limit: float | None = None,
    effort: Effort = QUICK,
    timed: bool = True,
    stopwatch: Stopwatch | None = None,
) -> Forecast:
    """Look at a sample of the space, train a few steps of some of it on the dataset's device, and reckon.

    Without `timed` nothing is trained, and nothing but trials of the past tell the time. Workers on CPUs share the
    cores that one trial has by itself, so they change no sum here; on CUDA it is the least that so many can take.
    """
    rng = random.Random(derive_seed(seed, "forecast"))
    seen = survey(space, task, limits, rng, most=effort.draws, seconds=effort.draw_seconds)
    if not seen.sample:
        raise NasError(f"no architecture of space {space.name!r} that keeps {limits or 'its own rules'} was found")
    left = max(0, budget - past.done)
    known = past.seconds is not None and past.done >= TELLING
    timings = measure(seen, dataset, recipe, effort) if timed and left and not known else []
    trial, total = None, None
    if past.seconds is not None and known:
        trial, total = Spread(past.seconds, past.seconds, past.seconds), left * past.seconds / workers
    elif timings:
        model = fit(timings)
        trial = seen.spread(lambda cost: model.trial(cost, recipe.rung_ends[-1]) + RECORDS)
        at_once = 1 if dataset.train.images.device.type == "cpu" else workers
        total = seconds_left(seen, model, pruner, recipe.epochs, past.done, budget) / at_once
    latencies = measured_latencies(seen, stopwatch, effort)
    bfloat16 = bool(timings) and all(timing.execution.startswith("bfloat16") for timing in timings)
    return Forecast(
        space=space.name,
        size=seen.size,
        drawn=seen.drawn,
        exact=seen.exact,
        share=seen.share,
        limits=str(limits),
        params=seen.spread(lambda cost: cost.params),
        macs=seen.spread(lambda cost: cost.macs),
        activations=seen.spread(lambda cost: cost.activations),
        memory=seen.spread(
            lambda cost: training_bytes(cost, recipe.batch_size, optimizer=recipe.optimizer, bfloat16=bfloat16)
        ),
        latency=Spread.of(latencies) if latencies else None,
        latencies=len(latencies),
        quick_enough=sum(each <= (limits.max_latency or math.inf) for each in latencies),
        trial_seconds=trial,
        measured_networks=len(timings),
        measured_trials=past.done if known else 0,
        budget=budget,
        left=left,
        workers=workers,
        seconds=total,
        time_limit=time_limit,
    )


def measure(seen: Survey, dataset: Dataset, recipe: Recipe, effort: Effort) -> list[Timing]:
    """Time networks over the range of MACs, as many as are thought to fit into the effort's seconds.

    The first, a small one, may take twice as long; of a slower one nothing is known, and nobody waits for it.
    Left out are those with a channel boost, whose learner would be trained for the data set first.
    """
    ranked = sorted(filter(_unboosted, seen.sample), key=lambda proposal: proposal.cost.macs)
    chosen = [ranked[int(place * (len(ranked) - 1))] for place in _places(min(effort.networks, len(ranked)))]
    until = time.monotonic() + effort.seconds
    timings: list[Timing] = []
    slowest = 0.0  # seconds that timing a network took for each of its multiply-adds

    def stop() -> bool:
        return time.monotonic() > until + effort.seconds

    for proposal in chosen:
        started = time.monotonic()
        if timings and started + slowest * proposal.cost.macs > until:
            continue
        try:
            timing = time_training(
                proposal.architecture,
                proposal.cost,
                dataset,
                recipe,
                stop,
                steps=effort.steps,
                validated=effort.validated,
            )
        except Exception:  # of this network: if the search meets it, it costs one trial, which says why
            continue
        if timing is None:
            continue
        slowest = max(slowest, (time.monotonic() - started) / proposal.cost.macs)
        timings.append(timing)
    return timings


def measured_latencies(seen: Survey, stopwatch: Stopwatch | None, effort: Effort) -> list[float]:
    """Milliseconds of networks over the range of MACs, as many as the effort times; none without a stopwatch."""
    ranked = sorted(seen.sample, key=lambda proposal: proposal.cost.macs)
    places = _places(min(effort.networks, len(ranked))) if stopwatch is not None else []
    until = time.monotonic() + effort.seconds
    found: list[float] = []
    for place in places:
        if stopwatch is None or time.monotonic() > until:
            break
        found.append(stopwatch(ranked[int(place * (len(ranked) - 1))].architecture))
    return found


def _unboosted(proposal: Proposal) -> bool:
    stages = (*proposal.architecture.stem, *proposal.architecture.stages)
    return all(stage.block.kind != "channel_boost" for stage in stages)


def _places(count: int) -> list[float]:
    """Places in a ranking, in the order in which they tell most, but for the first, which is to be quick."""
    order = [0.15, 0.5, 0.85, 0.3, 0.7, 0.95, 0.05, 0.4, 0.6]
    return order[:count]


def seconds_left(seen: Survey, model: TimeModel, pruner: str, epochs: int, done: int, budget: int) -> float:
    """Of the trials that a budget still allows, one after the other, of which the pruner ends some early."""
    trained = expected_epochs(pruner, epochs, max(budget, done)) - expected_epochs(pruner, epochs, done)
    epoch = fmean(model.epoch(proposal.cost) for proposal in seen.sample)
    return max(0, budget - done) * (model.setup + RECORDS) + trained * epoch


def past_of(store: StudyStore, study: str, recipe: Recipe, fingerprint: str) -> Past:
    """What the study of this name holds; nothing where there is none, or one of other data or another recipe, whose
    seconds would say nothing of these and which such a search is refused.
    """
    try:
        row = store.study(study)
    except UnknownStudy:
        return Past()
    asked = {"epochs": recipe.epochs, "recipe": recipe.settings(), "data_fingerprint": fingerprint}
    if any(row.settings.get(name) != value for name, value in asked.items()):
        return Past()
    return Past(store.slot_counts(row.id)["DONE"], store.mean_seconds(row.id))
