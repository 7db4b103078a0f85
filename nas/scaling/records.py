"""What scaling gives: networks within limits, and families of sizes."""

from __future__ import annotations

from dataclasses import dataclass

from nas.limits import Limits
from searchspace import Architecture, Cost
from searchspace.directions import Pixels


@dataclass(frozen=True)
class Scaled:
    """What one direction or published family gives: a network, what it takes, and how near the limit that is.

    `width` and `depth` are its channels and blocks, `share` of the limit `binding` is taken: at most 1 where `within`,
    else the network is the smallest that there is. `reason` says why a share is below 98 % or above 1, else nothing.
    """

    law: str
    source: str
    architecture: Architecture
    cost: Cost
    amounts: dict[str, float]
    binding: str
    share: float
    width: int
    depth: int
    reason: str = ""

    @property
    def within(self) -> bool:
        return self.share <= 1


@dataclass(frozen=True)
class Scaling:
    """A network scaled to limits: what every law gives, and the direction that is recommended, with the reason."""

    start: Architecture
    cost: Cost
    limits: Limits
    pixels: Pixels
    direction: str
    why: str
    laws: tuple[Scaled, ...]

    @property
    def best(self) -> Scaled:
        """What the chosen direction gives."""
        return next(row for row in self.laws if row.law == self.direction)


@dataclass(frozen=True)
class FamilyMember:
    """The network of one phi: about 2^phi times the multiply-adds. Errors are shares of the targets.

    `val_accuracy` is what a trial's training of it reached, `failure` why one failed, where there was one.
    """

    phi: float
    architecture: Architecture
    cost: Cost
    target_params: int
    target_macs: int
    val_accuracy: float | None = None
    failure: str = ""

    @property
    def params_error(self) -> float:
        return self.cost.params / self.target_params - 1

    @property
    def macs_error(self) -> float:
        return self.cost.macs / self.target_macs - 1


@dataclass(frozen=True)
class Family:
    """Networks of several sizes along one direction."""

    start: Architecture
    cost: Cost
    pixels: Pixels
    direction: str
    why: str
    members: tuple[FamilyMember, ...]
