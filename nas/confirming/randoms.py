"""The random baseline: networks drawn from the study's space at the leaders' cost, without any search."""

from __future__ import annotations

import random

import optuna

from nas.confirming.contestants import TOLERANCE
from nas.draws import TRIES, Proposal, propose
from nas.limits import Limits
from nas.study import close_storage, optuna_storage
from searchspace import ArchitectureError, Cost
from searchspace.space import SearchSpace, Task
from studies import Study, StudyStore

DRAWN = 5


def draw_near(
    space: SearchSpace, task: Task, limits: Limits, macs: int, rng: random.Random, count: int = DRAWN
) -> list[Proposal]:
    """Up to `count` different networks within the limits and within 15 % of the multiply-adds, evenly drawn.

    Fewer, or none, where `TRIES` draws bring no more.
    """
    found: dict[str, Proposal] = {}
    for _ in range(TRIES):
        try:
            drawn = propose(space, task, space.random(rng), found.__contains__)
        except ArchitectureError:
            continue
        if drawn is not None and abs(drawn.cost.macs / macs - 1) <= TOLERANCE and limits.allow(drawn.cost):
            found[drawn.architecture.digest] = drawn
            if len(found) == count:
                break
    return list(found.values())


def limits_of(store: StudyStore, study: Study, batch_size: int, optimizer: str) -> tuple[Limits, tuple[str, ...]]:
    """The limits that the newest trial of the study was held to, and the names of those that are not known here.

    They stand beside the trial as Optuna's constraints: each is the cost's share of its limit, less one. A latency is
    one of this device's and not looked at.
    """
    storage = optuna_storage(store)
    try:
        trials = optuna.load_study(study_name=study.name, storage=storage).get_trials(deepcopy=False)
    except KeyError:  # the dashboard deletes studies
        return Limits(), ("those of the deleted Optuna study",)
    finally:
        close_storage(storage)
    for trial in reversed(trials):
        if trial.constraints and "macs" in trial.user_attrs:
            spent = Cost(*(trial.user_attrs[name] for name in ("params", "macs", "activations")))
            amounts = Limits(batch_size=batch_size, optimizer=optimizer).amounts(spent)
            found = {
                f"max_{name}": round(amounts[name] / (1 + share))
                for name, share in trial.constraints.items()
                if name in amounts
            }
            limits = Limits(**found, batch_size=batch_size, optimizer=optimizer)
            return limits, tuple(sorted(set(trial.constraints) - set(amounts)))
    return Limits(), ()
