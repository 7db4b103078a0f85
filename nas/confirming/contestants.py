"""Who is trained in a confirmation: leaders of a study, and published networks scaled to their cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.architectures import find_architecture, suited
from nas.errors import NasError
from nas.quantities import show_count
from nas.result import SearchResult, TrialResult
from nas.scaling.scaleup import scale
from nas.training.data import Dataset
from searchspace import REFERENCES, Architecture, ArchitectureError, Cost, reference
from searchspace.directions import default_direction
from studies import COMPLETE

RANDOM, NONE = "random", "none"
BASELINES = ("resnet20", "densenet_bc_100_12", "mobilenet_v2", RANDOM)
TOLERANCE = 0.15  # of the multiply-adds: what is further away is no baseline of equal cost
SECOND_WAY = "even"  # shrinks depth as well, where narrowing alone does not reach the cost


@dataclass(frozen=True)
class Contestant:
    """A network to be confirmed. `trial` and `search_val_accuracy` are a leader's; `note` says what was done to it."""

    role: str
    name: str
    architecture: Architecture
    cost: Cost
    trial: int | None = None
    search_val_accuracy: float | None = None
    note: str = ""


def leading_trials(result: SearchResult, top: int) -> list[TrialResult]:
    """The `top` most accurate complete trials, or as many as there are, the best first.

    Raises:
        NasError: there is none.
    """
    rows = result.rank(top)
    complete = rows[(rows["status"] == COMPLETE) & rows["val_accuracy"].notna()]
    if complete.empty:
        raise NasError(
            f"study {result.study.name!r} has no complete trial to confirm: search on with a larger --budget"
        )
    return [result.trial(int(number)) for number in complete["trial"]]


def leader(trial: TrialResult) -> Contestant:
    return Contestant(
        role="leader",
        name=f"trial {trial.number}",
        architecture=trial.architecture,
        cost=trial.cost,
        trial=trial.number,
        search_val_accuracy=trial.val_accuracy,
    )


def chosen_baselines(names: str | Sequence[str]) -> tuple[str, ...]:
    """The baselines that a person named, also as one text with commas; `none` is none of them.

    Raises:
        NasError: an unknown name, or `none` beside others.
    """
    given = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    if given == [NONE] or not given:
        return ()
    for name in given:
        if name == NONE:
            raise NasError(f"--baselines {NONE} stands alone, given {', '.join(given)}")
        if name != RANDOM and name not in REFERENCES:
            raise NasError(_unknown(name))
    return tuple(dict.fromkeys(given))


def _unknown(name: str) -> str:
    try:
        reference(name)
    except Exception as error:  # which says what is near
        return f"{error}; a baseline is a reference, {RANDOM}, or {NONE}"
    raise AssertionError


def published(names: Sequence[str], data: Dataset, macs: int) -> tuple[list[Contestant], dict[str, str]]:
    """The references of these names at this cost, and of those left out the reason."""
    found, left_out = [], {}
    for name in names:
        try:
            found.append(at_cost(name, data, macs))
        except (NasError, ArchitectureError) as error:
            left_out[name] = str(error)
    return found, left_out


def at_cost(name: str, data: Dataset, macs: int) -> Contestant:
    """A reference for the data, in its CIFAR form on small images, scaled to `macs` multiply-adds.

    Along the direction that suits the images, and where that does not reach so small a cost, in width and depth.

    Raises:
        NasError, ArchitectureError: it cannot be built for these images, or not be scaled there.
    """
    start = suited(name, find_architecture(name), data)
    direction = default_direction(start)[0]
    try:
        done = scale(start, max_macs=macs, direction=direction)
    except NasError:
        done = scale(start, max_macs=macs, direction=SECOND_WAY)
    best = done.best
    share = best.cost.macs / macs
    if share < 1 - TOLERANCE:
        raise NasError(f"the nearest size has {show_count(best.cost.macs)} MACs, {share:.0%}: {best.reason}")
    form = " in its CIFAR form" if start.name != name else ""
    note = f"{name}{form} scaled along {done.direction}, {share:.1%} of {show_count(macs)} MACs"
    return Contestant("baseline", name, best.architecture, best.cost, note=note)
