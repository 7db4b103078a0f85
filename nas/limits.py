"""Limits on what a network may take: the one list of their names, units and words, for searching and for scaling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from nas.errors import NasError
from nas.quantities import parse_count, parse_latency, show_count, show_latency
from nas.training.footprint import training_bytes
from searchspace import Cost


class _Measure(NamedTuple):
    """What is limited: its unit, how a person writes it and how it is shown."""

    unit: str
    parse: Callable[[Any], float]
    show: Callable[[float], str]


_MEASURES = {
    "params": _Measure("params", parse_count, show_count),
    "macs": _Measure("MACs", parse_count, show_count),
    "activations": _Measure("activations", parse_count, show_count),
    "memory": _Measure("bytes of memory", parse_count, show_count),
    "latency": _Measure("of latency", parse_latency, show_latency),
}
LIMITS = tuple(f"max_{name}" for name in _MEASURES)
"""The limits' names as arguments; as options they begin with two dashes and have dashes inside."""


@dataclass(frozen=True)
class Limits:
    """The most that a network may take; None is no limit.

    Counts are for one image. `max_memory` is bytes of tensors while the network trains on batches of `batch_size` with
    `optimizer`, by estimate and in float32, which takes the most (`nas.training.footprint`). `max_latency` is the
    measured median milliseconds of one image. All but the latency are counted and cost nothing to know.

    Raises:
        NasError: a limit is not above 0.
    """

    max_params: int | None = None
    max_macs: int | None = None
    max_activations: int | None = None
    max_memory: int | None = None
    max_latency: float | None = None
    batch_size: int = 128
    optimizer: str = "muon"

    def __post_init__(self) -> None:
        for name, limit in self.given.items():
            if not (limit > 0 and math.isfinite(limit)):
                raise NasError(f"max-{name} must be a number above 0, given {limit}")
        if self.batch_size < 1:
            raise NasError(f"a batch has 1 image or more, given {self.batch_size}")

    @classmethod
    def read(cls, given: Mapping[str, str | float | None], *, batch_size: int = 128, optimizer: str = "muon") -> Self:
        """Of what a person wrote under the names of `LIMITS`, such as 500k, 8G or 5ms; None and absent are no limit.

        Raises:
            NasError: something else; it names the limit.
        """
        amounts: dict[str, Any] = {}
        for name, measure in _MEASURES.items():
            text = given.get(f"max_{name}")
            try:
                amounts[f"max_{name}"] = None if text is None else measure.parse(text)
            except NasError as error:
                raise NasError(f"max-{name}: {error}") from None
        return cls(**amounts, batch_size=batch_size, optimizer=optimizer)

    @property
    def given(self) -> dict[str, float]:
        """The limits that there are, by name: params, macs, activations, memory, latency."""
        limits = {name: getattr(self, f"max_{name}") for name in _MEASURES}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def amounts(self, cost: Cost) -> dict[str, int]:
        """What a network of this cost takes of all that need not be measured."""
        memory = training_bytes(cost, self.batch_size, optimizer=self.optimizer)
        return {"params": cost.params, "macs": cost.macs, "activations": cost.activations, "memory": memory}

    def excess(self, cost: Cost) -> dict[str, float]:
        """How far each counted amount lies over its limit, as a share of it; at most 0 is allowed (Optuna's sign)."""
        given = self.given
        return {name: amount / given[name] - 1 for name, amount in self.amounts(cost).items() if name in given}

    def allow(self, cost: Cost) -> bool:
        """Whether all counted limits are kept."""
        return all(share <= 0 for share in self.excess(cost).values())

    def violations(self, cost: Cost) -> list[str]:
        """Which counted limits are not kept, in words."""
        amounts = self.amounts(cost)
        over = [name for name, share in self.excess(cost).items() if share > 0]
        return [
            f"{amounts[name]:,} {_MEASURES[name].unit} are over max-{name} {show_amount(name, self.given[name])}"
            for name in over
        ]

    def worst(self, cost: Cost) -> float:
        """The largest excess of a counted limit; -1 where there is none."""
        return max(self.excess(cost).values(), default=-1.0)

    def __bool__(self) -> bool:
        return bool(self.given)

    def __str__(self) -> str:
        return " and ".join(f"max-{name} {show_amount(name, limit)}" for name, limit in self.given.items())


def show_amount(name: str, amount: float) -> str:
    """An amount of what a limit is on, as people write it: 12.3M, 4.5ms."""
    return _MEASURES[name].show(amount)


def describe_amount(name: str, amount: float) -> str:
    """The same with what it is of: 12.3M params, 4.5ms of latency."""
    return f"{show_amount(name, amount)} {_MEASURES[name].unit}"
