"""What a search is after: the validation accuracy, alone or with costs to be kept small."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nas.errors import NasError

ACCURACY = "val_accuracy"
COSTS = ("params", "macs", "activations", "latency_ms")


@dataclass(frozen=True)
class Objectives:
    """Names in the order of a trial's values: the accuracy, which is maximised, then costs, which are minimised."""

    costs: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Objectives:
        """`val_accuracy`, or `val_accuracy,macs` and so on, in any order.

        Raises:
            NasError: an objective that there is not, one that repeats, or no accuracy.
        """
        names = [name.strip() for name in text.split(",")]
        known = (ACCURACY, *COSTS)
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise NasError(f"no objective named {name[:60]!r}: {hint}there are {', '.join(known)}")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise NasError(f"the objective {repeated[0]} is given more than once in {text!r}")
        if ACCURACY not in names:
            raise NasError(f"the cheapest network has no layers: add {ACCURACY} to the objectives, given {text!r}")
        return cls(tuple(name for name in names if name != ACCURACY))

    @property
    def names(self) -> tuple[str, ...]:
        return (ACCURACY, *self.costs)

    @property
    def several(self) -> bool:
        return bool(self.costs)

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """As Optuna names them."""
        return ["maximize", *("minimize" for _ in self.costs)]

    def values(self, accuracy: float, costs: Mapping[str, float]) -> list[float]:
        """A trial's values for Optuna, from its accuracy and its costs by name."""
        return [accuracy, *(float(costs[name]) for name in self.costs)]

    def gains(self, accuracy: float, costs: Mapping[str, float]) -> tuple[float, ...]:
        """The same, each to be maximised."""
        return (accuracy, *(-float(costs[name]) for name in self.costs))

    def __str__(self) -> str:
        return ",".join(self.names)
