"""How much of its limits a network takes: counted, and where latency is limited measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nas.limits import Limits
from searchspace import Architecture, ArchitectureError, Cost, cost

Latency = Callable[[Architecture], float]
"""The median milliseconds of one image."""


class Stopwatch:
    """A latency that measures each network once, by its digest; `known` may be told what was measured before."""

    def __init__(self, measure: Latency, device: str = "") -> None:
        self._measure = measure
        self.device = device
        self.known: dict[str, float] = {}
        self.measured = 0
        """How often it was started."""

    def __call__(self, architecture: Architecture) -> float:
        if self.lacks(architecture):
            self.known[architecture.digest] = self._measure(architecture)
            self.measured += 1
        return self.known[architecture.digest]

    def lacks(self, architecture: Architecture) -> bool:
        """Whether the architecture would have to be measured."""
        return architecture.digest not in self.known


@dataclass(frozen=True)
class Use:
    """What a network takes: its cost, each limited amount, and each as a share of its limit."""

    cost: Cost
    amounts: dict[str, float]
    shares: dict[str, float]

    @property
    def binding(self) -> str:
        """The limit of which most is taken."""
        return max(self.shares, key=lambda name: self.shares[name])

    @property
    def share(self) -> float:
        return self.shares[self.binding]


class Meter:
    """Counts and, where latency is limited, measures networks; each network is measured once."""

    def __init__(self, limits: Limits, latency: Latency | None = None) -> None:
        self.limits = limits
        self._latency = None if latency is None else Stopwatch(latency)

    def use(self, architecture: Architecture) -> Use:
        """What the architecture takes. One that is over a counted limit is not measured.

        Raises:
            ArchitectureError: it cannot be built.
        """
        counted = cost(architecture)
        given = self.limits.given
        amounts: dict[str, float] = {
            name: amount for name, amount in self.limits.amounts(counted).items() if name in given
        }
        if "latency" in given and self.limits.allow(counted):
            assert self._latency is not None
            amounts["latency"] = self._latency(architecture)
        return Use(counted, amounts, {name: amount / given[name] for name, amount in amounts.items()})

    def share(self, architecture: Architecture) -> float:
        """The largest share of a limit that it takes; infinite where it cannot be built."""
        try:
            return self.use(architecture).share
        except ArchitectureError:
            return math.inf
