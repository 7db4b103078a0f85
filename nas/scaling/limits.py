"""How much a scaled network may cost, and how much of that it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

from nas.errors import NasError
from nas.quantities import show_count
from nas.training.footprint import training_bytes
from searchspace import Architecture, ArchitectureError, Cost, cost

OPTIMIZER = "muon"  # as a search trains

Latency = Callable[[Architecture], float]


@dataclass(frozen=True)
class ScaleLimits:
    """The most that a network may take; None is no limit.

    Counts are for one image; `memory` is bytes of tensors while it trains on batches of `batch_size`, by estimate
    (`nas.training.footprint`); `latency` is the measured median milliseconds of one image.
    """

    params: int | None = None
    macs: int | None = None
    activations: int | None = None
    memory: int | None = None
    latency: float | None = None
    batch_size: int = 128

    def __post_init__(self) -> None:
        for name, limit in self.given.items():
            if not (limit > 0 and math.isfinite(limit)):
                raise NasError(f"max-{name} must be a number above 0, given {limit}")
        if self.batch_size < 1:
            raise NasError(f"a batch has 1 image or more, given {self.batch_size}")

    @property
    def given(self) -> dict[str, float]:
        """The limits that there are, by name."""
        names = [field.name for field in fields(self) if field.name != "batch_size"]
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def amounts(self, counted: Cost) -> dict[str, int]:
        """What a network of this cost takes of all that need not be measured."""
        memory = training_bytes(counted, self.batch_size, optimizer=OPTIMIZER)
        return {
            "params": counted.params,
            "macs": counted.macs,
            "activations": counted.activations,
            "memory": memory,
        }

    def __str__(self) -> str:
        return " and ".join(f"max-{name} {show_amount(name, limit)}" for name, limit in self.given.items())


def show_amount(name: str, amount: float) -> str:
    return f"{amount:.3g}ms" if name == "latency" else show_count(amount)


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

    def __init__(self, limits: ScaleLimits, latency: Latency | None = None) -> None:
        self.limits = limits
        self._latency = latency
        self._measured: dict[str, float] = {}

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
        if "latency" in given and all(amount <= given[name] for name, amount in amounts.items()):
            amounts["latency"] = self.latency(architecture)
        return Use(counted, amounts, {name: amount / given[name] for name, amount in amounts.items()})

    def share(self, architecture: Architecture) -> float:
        """The largest share of a limit that it takes; infinite where it cannot be built."""
        try:
            return self.use(architecture).share
        except ArchitectureError:
            return math.inf

    def latency(self, architecture: Architecture) -> float:
        assert self._latency is not None
        digest = architecture.digest
        if digest not in self._measured:
            self._measured[digest] = self._latency(architecture)
        return self._measured[digest]
