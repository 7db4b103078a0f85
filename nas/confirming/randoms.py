"""The random baseline: networks drawn from the study's space at the leaders' cost, without any search."""

from __future__ import annotations

import random

from nas.confirming.contestants import TOLERANCE
from nas.draws import TRIES, Proposal, propose
from nas.limits import Limits
from nas.study_limits import LATENCY, study_limits
from searchspace import ArchitectureError
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

    A latency is one of this device's and not looked at.
    """
    found = study_limits(store, study)
    counted = {f"max_{name}": round(limit) for name, limit in found.items() if name != LATENCY}
    return Limits(**counted, batch_size=batch_size, optimizer=optimizer), (LATENCY,) if LATENCY in found else ()
