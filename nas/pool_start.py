"""A new study's first trials: the best of a pool of untrained networks, where a moment is enough to find them."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import torch

from nas.foresight.outlook import Forecast
from nas.limits import Limits
from nas.one_commit import one_commit
from nas.ownership import is_here, lives, this_process
from nas.pool import sample_pool
from nas.quantities import show_seconds
from nas.training.data import Dataset
from searchspace.space import SearchSpace, Task

POOL = "pool"  # Optuna study's user attribute: the process that made, or makes, its pool
SHARE = 0.02  # of what the search is forecast to take may be spent on it
COUNT = 10  # choices
BUDGET_SHARE = 3  # of so many trials of the budget one is from the pool
FEWEST = 4  # choices; fewer are no start
SHORT = 1_000_000  # images passed in all trainings: of a shorter search a forecast would already be a visible part


def wants_pool(study: optuna.Study, sampler: str, budget: int) -> bool:
    """Whether a pool may be made: for a study without trials that no living process makes one for already.

    Random sampling is the baseline that others are compared with, and remains what it is.
    """
    owner = study.user_attrs.get(POOL, "")
    taken = owner not in ("", this_process()) and (not is_here(owner) or lives(owner))
    few = budget // BUDGET_SHARE < FEWEST
    return sampler != "random" and not few and not taken and not study.get_trials(deepcopy=False)


def is_short(images: int, epochs: int, budget: int) -> bool:
    """Whether a search passes so few images that two hundredths of its time are no time to score networks in."""
    return images * epochs * budget < SHORT


def enqueue_pool(
    study: optuna.Study,
    space: SearchSpace,
    task: Task,
    limits: Limits,
    dataset: Dataset,
    *,
    forecast: Callable[[], Forecast],
    sampler: str,
    budget: int,
    epochs: int,
    seed: int,
    device: torch.device,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Enqueue the pool's choices in a new study, with their free scores as user attributes, if there is time for it.

    Its seconds are at most `SHARE` of the forecast of the search or of the time it is given. The study is marked first,
    so that a second process that begins at the same moment does not make another pool. Killed before any choice is
    enqueued, the next run makes it; killed between two of them, the study keeps those that are there.
    """
    if is_short(len(dataset.train), epochs, budget) or not wants_pool(study, sampler, budget):
        return
    foreseen = forecast()
    if foreseen.seconds is None:
        return
    seconds = SHARE * min(foreseen.seconds, foreseen.time_limit or foreseen.seconds)
    count = min(COUNT, budget // BUDGET_SHARE)
    with one_commit(study._storage):
        if not wants_pool(study, sampler, budget):  # another process was faster
            return
        study.set_user_attr(POOL, this_process())
    say(f"looking at untrained networks for what to begin with, at most {show_seconds(seconds)}")
    pool = sample_pool(space, task, limits, dataset, seed=seed, seconds=seconds, count=count, device=device, stop=stop)
    for each in pool.chosen:
        study.enqueue_trial(dict(each.choices), user_attrs=dict(each.scores))
    say(pool.line)
