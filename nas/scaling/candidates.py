"""The networks that directions of scaling make of one network at twice its multiply-adds: what is trained to compare.

Rounding decides much in small networks: `wide` asks for a tenth more blocks and may get a third more. So a candidate
carries the shares that its network has, beside those that its direction asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nas.errors import NasError
from nas.scaling.fitting import Exponents, Quadratic, simplex
from nas.scaling.learnt import FITTED, fitted_direction
from nas.scaling.records import Scaled
from nas.scaling.scaleup import MET, scale
from nas.scaling.start import Start
from searchspace import ArchitectureError, cost
from searchspace.directions import DIRECTIONS, Direction

GROWTH = 2  # times the multiply-adds: phi 1
PARTS = (
    8  # shares of a proposed direction are multiples of 1/8: more precision the noise of a few trainings does not bear
)
LOOKED_AT = 6  # directions of the highest expected score whose networks are made; one takes seconds where it is large


@dataclass(frozen=True)
class Candidate:
    """A direction, the network that it makes, the shares that it realises, and other directions that make the same."""

    direction: Direction
    scaled: Scaled
    shares: Exponents
    same: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.direction.name

    @property
    def digest(self) -> str:
        return self.scaled.architecture.digest


@dataclass(frozen=True)
class LeftOut:
    """A direction that is not compared, and why; `digest` is that of its network, if there is one."""

    name: str
    reason: str
    digest: str = ""


def published_candidates(start: Start) -> tuple[list[Candidate], list[LeftOut]]:
    """What the published directions give, each network once; and those of them that cannot double this network."""
    made, left_out = [], []
    for direction in DIRECTIONS.values():
        found = candidate(start, direction)
        (left_out if isinstance(found, LeftOut) else made).append(found)
    return [_of_one_network(group) for group in _by_digest(made)], left_out


def candidate(start: Start, direction: Direction) -> Candidate | LeftOut:
    """The network of twice the multiply-adds, at most 2 % below; or why there is none."""
    ends = start.pixels.lowest, start.pixels.highest
    wanted = GROWTH * cost(start.architecture).macs
    try:
        row = scale(start.architecture, max_macs=wanted, direction=direction, resolution_range=ends).best
    except (NasError, ArchitectureError) as error:
        return LeftOut(direction.name, str(error))
    if row.share < MET:
        return LeftOut(direction.name, f"it gives {GROWTH * row.share:.2f} times the multiply-adds: {row.reason}")
    return Candidate(direction, row, shares_of(start, row))


def shares_of(start: Start, row: Scaled) -> Exponents:
    """The shares of the growth that blocks and pixels took, to 1/100; width has the rest, to which repair adds."""
    begin, end = start.architecture, row.architecture
    growth = math.log(row.cost.macs / cost(begin).macs)
    depth = max(0.0, math.log(end.depth / begin.depth) / growth)
    resolution = max(0.0, 2 * math.log(end.resolution / begin.resolution) / growth)
    whole = max(1.0, depth + resolution)
    depth, resolution = round(depth / whole, 2), round(resolution / whole, 2)
    return depth, round(max(0.0, 1 - depth - resolution), 2), resolution


def proposed(
    start: Start, quadratic: Quadratic, measured: Sequence[Candidate], left_out: Iterable[LeftOut], name: str
) -> Candidate | None:
    """The network not yet trained that the quadratic expects most of, if that is more than of any trained one."""
    known = {each.digest for each in (*measured, *left_out)}
    promising = sorted(simplex(PARTS, quadratic.plane), key=quadratic.at, reverse=True)[:LOOKED_AT]
    found = [candidate(start, fitted_direction(name, shares)) for shares in promising]
    new = [each for each in found if isinstance(each, Candidate) and each.digest not in known]
    best = max(new, key=lambda each: quadratic.at(each.shares), default=None)
    enough = max(quadratic.at(each.shares) for each in measured)
    return best if best is not None and quadratic.at(best.shares) > enough else None


def settled(start: Start, chosen: Candidate) -> Direction:
    """The direction of the shares that the chosen network has, where that makes the same network; else its own.

    What was measured is the network: `even` may have made one in which depth has a third of the growth and not half.
    """
    if chosen.shares == chosen.direction.exponents:
        return chosen.direction
    direction = fitted_direction(FITTED, chosen.shares)
    found = candidate(start, direction)
    same = isinstance(found, Candidate) and found.digest == chosen.digest
    return direction if same else chosen.direction


def _by_digest(made: Sequence[Candidate]) -> list[list[Candidate]]:
    groups: dict[str, list[Candidate]] = {}
    for each in made:
        groups.setdefault(each.digest, []).append(each)
    return list(groups.values())


def _of_one_network(group: Sequence[Candidate]) -> Candidate:
    """The direction that asks most nearly for what the network is: further along it, rounding matters less."""
    nearest = min(group, key=lambda each: math.dist(each.direction.exponents, each.shares))
    return replace(nearest, same=tuple(each.name for each in group if each is not nearest))
