"""Limits on cost, checked before any training."""

from __future__ import annotations

from dataclasses import dataclass

from nas.quantities import show_count
from searchspace import Cost


@dataclass(frozen=True)
class Limits:
    """The most that an architecture may cost for one image; None is no limit."""

    max_params: int | None = None
    max_macs: int | None = None

    def _pairs(self, cost: Cost) -> list[tuple[str, int, int]]:
        pairs = (("params", cost.params, self.max_params), ("macs", cost.macs, self.max_macs))
        return [(name, count, limit) for name, count, limit in pairs if limit is not None]

    def excess(self, cost: Cost) -> dict[str, float]:
        """How far each measure lies over its limit, as a share of the limit; at most 0 is allowed (Optuna's sign)."""
        return {name: count / limit - 1 for name, count, limit in self._pairs(cost)}

    def allow(self, cost: Cost) -> bool:
        return all(share <= 0 for share in self.excess(cost).values())

    def violations(self, cost: Cost) -> list[str]:
        """What is over a limit, in words."""
        return [
            f"{count:,} {name} are over max-{name} {show_count(limit)}"
            for name, count, limit in self._pairs(cost)
            if count > limit
        ]

    def worst(self, cost: Cost) -> float:
        return max(self.excess(cost).values(), default=-1.0)

    def __bool__(self) -> bool:
        return self.max_params is not None or self.max_macs is not None

    def __str__(self) -> str:
        pairs = (("max-params", self.max_params), ("max-macs", self.max_macs))
        return " and ".join(f"{name} {show_count(limit)}" for name, limit in pairs if limit is not None)
