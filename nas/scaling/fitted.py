"""Which direction suits one network: short trainings at twice its size, a quadratic through them, a verdict.

Tan and Le 2019 searched their exponents once, around B0; here they are searched around the network that is scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.errors import NasError, RunError
from nas.evaluate import Evaluate
from nas.scaling.candidates import Candidate, LeftOut, proposed, published_candidates, settled
from nas.scaling.fitting import fit_quadratic, needed
from nas.scaling.ground import Ground, find_ground
from nas.scaling.learnt import FITTED
from nas.scaling.short import Job, Say, ShortTrainings
from nas.scaling.verdict import Verdict, judge
from searchspace import Architecture, Cost
from searchspace import cost as count_cost
from searchspace.directions import DIRECTIONS, Direction, Pixels
from studies import Scalings

MOST_SEEDS = 100
NAMES = (FITTED, "refitted")  # as many as are proposed at most


@dataclass(frozen=True)
class Measured:
    """A candidate and the validation accuracies of its short trainings."""

    candidate: Candidate
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True)
class ScalingFit:
    """What was measured of one network's directions: the candidates, those left out, the choice and how sure it is.

    `direction` is what to scale this network along, `refit` says what became of the quadratic.
    """

    start: Architecture
    cost: Cost
    pixels: Pixels
    dataset: str
    epochs: int
    rows: tuple[Measured, ...]
    left_out: tuple[LeftOut, ...]
    refit: tuple[str, ...]
    verdict: Verdict
    direction: Direction

    @property
    def chosen(self) -> Measured:
        return self.rows[self.verdict.chosen]

    @property
    def trainings(self) -> int:
        return sum(len(row.scores) for row in self.rows)

    @property
    def why(self) -> str:
        """The choice, its reason and how sure it is, in a line."""
        verdict = self.verdict
        best, second = (self.rows[place] for place in (verdict.best, verdict.second))
        apart = (
            f"{best.mean:.2%} of {best.candidate.name} against {second.mean:.2%} of {second.candidate.name}, "
            f"{verdict.errors_apart:.1f} standard errors apart"
        )
        choice = "within noise, so the fewest activations decided" if verdict.tie_decided else "the best mean"
        sure = "" if verdict.sure else "; not sure, more --seeds or --epochs would tell"
        return f"{self.trainings} short trainings on {self.dataset}: {apart}; {choice}{sure}"


def fit_scaling(
    what: Architecture | str,
    dataset: str | None = None,
    *,
    epochs: int | None = None,
    seeds: int = 2,
    seed: int | None = None,
    limit_train: int | None = None,
    resolution: int | None = None,
    resolution_range: tuple[int, int] | None = None,
    device: str = "auto",
    storage: str = "sqlite:///nas.db",
    study: str | None = None,
    data_dir: str | Path | None = None,
    say: Say = lambda text: None,
    stop: Callable[[], bool] = lambda: False,
    evaluate: Evaluate | None = None,
) -> ScalingFit:
    """Train `what` at twice its multiply-adds along each direction, and up to two that a quadratic proposes.

    A trial is trained on its study's images by its recipe, for the epochs of its shortest training (or 4); any other
    network needs a `dataset`. Each network is trained from `seeds` seeds. The best mean wins; what lies within one
    standard error of it is a tie, and goes to the fewest activations. Trainings and result are kept in `storage`: the
    same call repeats none, and scaling this network again follows what was learnt.

    Raises:
        NasError: wrong input, or fewer than two directions that double this network.
        RunError: stopped, or all but one network's trainings failed.
    """
    require_seeds(seeds)
    ground = find_ground(
        what,
        dataset=dataset,
        limit_train=limit_train,
        resolution=resolution,
        resolution_range=resolution_range,
        seed=seed,
        storage=storage,
        study=study,
        device=device,
        data_dir=data_dir,
    )
    return fit_on(ground, epochs, seeds, evaluate, say, stop)


def require_seeds(seeds: int) -> None:
    """Refuse what is not a number of seeds."""
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MOST_SEEDS:
        raise NasError(f"each network is trained from 1 to {MOST_SEEDS} seeds, given {seeds!r}")


def fit_on(
    ground: Ground,
    epochs: int | None,
    seeds: int,
    evaluate: Evaluate | None = None,
    say: Say = lambda text: None,
    stop: Callable[[], bool] = lambda: False,
) -> ScalingFit:
    """`fit_scaling` on data that are loaded."""
    candidates, left_out = published_candidates(ground.start)
    if len(candidates) < 2:
        raise NasError(_too_few(candidates, left_out))
    recipe = ground.short_recipe(epochs)
    trainings = ground.trainings(recipe, evaluate, say, stop)
    times = f"{seeds} seed{'s' * (seeds > 1)}"
    say(f"{len(candidates)} networks of twice the multiply-adds, {times}; up to {len(NAMES)} more are proposed")
    rows, failed = _measured(trainings, candidates, seeds)
    left_out += failed
    refit = []
    for name in NAMES:
        note, proposal = _proposal(ground, rows, left_out, name)
        refit.append(note)
        if proposal is None:
            break
        say(note)
        more, failed = _measured(trainings, [proposal], seeds)
        rows, left_out = rows + more, left_out + failed
    if len(rows) < 2:
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in left_out)
        raise RunError(f"fewer than two networks could be trained, so nothing can be compared ({reasons})")
    activations = [row.candidate.scaled.cost.activations for row in rows]
    verdict = judge([row.scores for row in rows], activations, len(ground.data.validation))
    start = ground.start
    direction = settled(start, rows[verdict.chosen].candidate)
    fit = ScalingFit(
        start=start.architecture,
        cost=count_cost(start.architecture),
        pixels=start.pixels,
        dataset=ground.data.name,
        epochs=recipe.epochs,
        rows=tuple(rows),
        left_out=tuple(left_out),
        refit=tuple(refit),
        verdict=verdict,
        direction=direction if direction.name in DIRECTIONS else replace(direction, name=FITTED),
    )
    _keep(ground, fit)
    return fit


def _measured(
    trainings: ShortTrainings, candidates: Sequence[Candidate], seeds: int
) -> tuple[list[Measured], list[LeftOut]]:
    jobs = [Job(each.name, each.scaled.architecture, each.scaled.cost) for each in candidates]
    found = trainings.measure(jobs, seeds)
    rows = [Measured(each, found[each.name].scores) for each in candidates if not found[each.name].failure]
    failed = [
        LeftOut(each.name, f"its training failed: {found[each.name].failure}", each.digest)
        for each in candidates
        if found[each.name].failure
    ]
    return rows, failed


def _proposal(
    ground: Ground, rows: Sequence[Measured], left_out: Sequence[LeftOut], name: str
) -> tuple[str, Candidate | None]:
    """What the quadratic through the means proposes, in words and as a network, if it proposes anything."""
    measured = [row.candidate for row in rows]
    points = [each.shares for each in measured]
    if not points or len(set(points)) < needed(points):
        least = needed(points) if points else 3
        return f"no quadratic: the networks differ in {len(set(points))} shares of growth, and it takes {least}", None
    quadratic = fit_quadratic(points, [row.mean for row in rows])
    found = proposed(ground.start, quadratic, measured, left_out, name)
    if found is None:
        return "the quadratic expects nothing better than what was trained of any other network", None
    return (
        f"{name}: {show_shares(found.shares)}, of which the quadratic expects {quadratic.at(found.shares):.2%}",
        found,
    )


def show_shares(shares: Sequence[float]) -> str:
    """`0.42 0.58 0.00`: depth, width, resolution."""
    return " ".join(f"{share:.2f}" for share in shares)


def _too_few(candidates: Sequence[Candidate], left_out: Sequence[LeftOut]) -> str:
    same = [f"{each.name} and {', '.join(each.same)} give one network" for each in candidates if each.same]
    reasons = same + [f"{each.name}: {each.reason}" for each in left_out]
    return f"two directions or more are compared, and {len(candidates)} can double this network ({'; '.join(reasons)})"


def _keep(ground: Ground, fit: ScalingFit) -> None:
    Scalings(ground.store).learn(
        fit.start.digest,
        ground.data.fingerprint,
        direction=fit.direction.name,
        exponents=fit.direction.exponents,
        trainings=fit.trainings,
        why=fit.why,
    )
