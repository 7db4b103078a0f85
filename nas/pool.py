"""A pool of architectures that nobody trained, ranked by free scores: what a search may begin with."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nas.draws import Proposal, draws
from nas.free_scores import free_scores, scoring_images
from nas.free_scores.ranks import Floats, rank_sum_in_bins
from nas.limits import Limits
from nas.quantities import show_seconds
from nas.training.data import Dataset
from nas.training.seeds import derive_seed
from searchspace.space import Option, SearchSpace, Task

SCORES = ("jacov", "params")  # the same for every space; docs/benchmarks.md, Free scores, has the reasons
MOST = 100  # architectures looked at
BINS = 4  # of about equal MACs, within which they are ranked
TOP = 4  # the best one in so many are worth choosing from: among good networks free scores say nothing
LEAST = 3  # times the wanted count must be scored, lest there was nothing to choose from
TRIED = 5  # networks scored before it is reckoned whether the seconds are enough


@dataclass(frozen=True)
class Scored:
    """Choices of a space, and what the free scores say of their network, by name."""

    choices: Mapping[str, Option]
    scores: Mapping[str, float]
    macs: int


@dataclass(frozen=True)
class Pool:
    """The chosen, best first, then each as far from the earlier ones as can be; none where time was too short.

    `failed` networks could not be scored.
    """

    chosen: tuple[Scored, ...]
    looked_at: int
    seconds: float
    failed: int = 0

    @property
    def line(self) -> str:
        looked = f"{self.looked_at} untrained networks looked at in {show_seconds(self.seconds)}"
        looked += f", {self.failed} more could not be scored" if self.failed else ""
        if not self.chosen:
            return f"{looked}: too few to choose from"
        return f"{looked}: the first {len(self.chosen)} trials are the best of them by {', '.join(SCORES)}"


def sample_pool(
    space: SearchSpace,
    task: Task,
    limits: Limits,
    dataset: Dataset,
    *,
    seed: int,
    seconds: float,
    count: int = 10,
    most: int = MOST,
    device: torch.device | None = None,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Pool:
    """Draw up to `most` different architectures within the limits, score them, choose `count` good and diverse ones.

    They are ranked by the sum of their ranks among those of about as many MACs, so that no size is preferred; the
    chosen ones are spread over the best quarter. Scoring ends when the next network would not end within `seconds`,
    and at once where these will not do for three times `count`: then nothing is chosen. Depends on its arguments alone,
    but for how many networks the time allows.
    """
    started = clock()
    found: list[Scored] = []
    failed = 0
    rng = random.Random(derive_seed(seed, "pool"))
    for proposal in draws(space, task, limits, lambda digest: False, rng):
        spent = clock() - started
        each = spent / (len(found) + failed) if found else 0.0
        hopeless = len(found) + failed >= TRIED and each * LEAST * count > seconds
        if len(found) + failed == most or spent + each > seconds or hopeless or stop():
            break
        if limits.allow(proposal.cost):
            try:
                found.append(_scored(proposal, dataset, device, seed))
            except Exception:  # of this network: if the search meets it, it costs one trial, which says why
                failed += 1
    chosen: list[int] = []
    if len(found) >= LEAST * count:
        codes = np.array([space.encode(each.choices) for each in found], dtype=float)
        chosen = choose([each.scores for each in found], [each.macs for each in found], codes, count)
    return Pool(tuple(found[index] for index in chosen), len(found), clock() - started, failed)


def _scored(proposal: Proposal, dataset: Dataset, device: torch.device | None, seed: int) -> Scored:
    architecture = proposal.architecture
    images = scoring_images(dataset, architecture.resolution, seed=seed)
    scores = free_scores(architecture, images if device is None else images.to(device), names=SCORES, seed=seed)
    return Scored(dict(proposal.choices), scores, proposal.cost.macs)


def choose(
    scores: Sequence[Mapping[str, float]],
    macs: Sequence[int],
    codes: Floats,
    count: int,
    names: Sequence[str] = SCORES,
) -> list[int]:
    """Places of `count` networks, of which `codes` has a row each, among the best quarter by rank sum within bins.

    The best comes first, then, again and again, the one farthest from those that were taken (Gonzalez 1985).
    """
    ranked = np.argsort(-rank_sum_in_bins(scores, macs, names, BINS), kind="stable")
    best = ranked[: max(count, len(ranked) // TOP)]
    return [int(best[place]) for place in farthest_first(codes[best], count)]


def farthest_first(codes: Floats, count: int) -> list[int]:
    """The first row, then each time the row whose nearest taken one is the farthest away."""
    taken: list[int] = []
    nearest = np.full(len(codes), np.inf)
    while len(taken) < min(count, len(codes)):
        taken.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.abs(codes - codes[taken[-1]]).sum(1))
        nearest[taken] = -1.0
    return taken
