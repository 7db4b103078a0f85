"""The CPUs that this process may use, and a fair share of them for each worker."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass
from pathlib import Path

from nas.workers.control_group import cpu_quota

TOPOLOGY = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Share:
    """What one worker may use: so many threads, on these logical CPUs (None: wherever the system puts them)."""

    threads: int
    cpus: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Cores:
    """Physical cores, each as its logical CPUs; `quota`: CPUs' worth of time that the control group is given."""

    cores: tuple[tuple[int, ...], ...]
    quota: float | None = None
    can_bind: bool = True

    @property
    def most_workers(self) -> int:
        """Workers with a logical CPU each."""
        return self._within_quota(sum(map(len, self.cores)))

    @property
    def physical(self) -> int:
        return self._within_quota(len(self.cores))

    def _within_quota(self, count: int) -> int:
        return count if self.quota is None else max(1, min(count, math.floor(self.quota)))

    def shares(self, workers: int) -> list[Share]:
        """A share for each worker: whole cores while there are enough, else logical CPUs; no CPU twice.

        A quota that leaves CPUs idle is no reason to choose some of them: other groups may choose the same ones.
        """
        units = self.cores if workers <= len(self.cores) else tuple((cpu,) for core in self.cores for cpu in core)
        bound = self.can_bind and self._within_quota(len(units)) == len(units) and workers <= len(units)
        bounds = [len(units) * number // workers for number in range(workers + 1)]
        groups = [units[start:end] for start, end in itertools.pairwise(bounds)]
        if bound:
            return [Share(len(group), tuple(sorted(cpu for unit in group for cpu in unit))) for group in groups]
        return [Share(max(1, self._within_quota(len(units)) // workers))] * workers


def usable_cores() -> Cores:
    """Those that the process's affinity and control group leave it."""
    can_bind = hasattr(os, "sched_getaffinity")
    cpus = sorted(os.sched_getaffinity(0)) if can_bind else list(range(os.cpu_count() or 1))
    return Cores(group_cores(cpus, TOPOLOGY), cpu_quota(), can_bind)


def group_cores(cpus: list[int], topology: Path) -> tuple[tuple[int, ...], ...]:
    """The logical CPUs by physical core; a CPU of which nothing is known is a core."""
    cores: dict[frozenset[int], list[int]] = {}
    for cpu in cpus:
        try:
            siblings = parse_list((topology / f"cpu{cpu}/topology/thread_siblings_list").read_text())
        except (OSError, ValueError):
            siblings = frozenset({cpu})
        cores.setdefault(siblings, []).append(cpu)
    return tuple(tuple(core) for core in cores.values())


def parse_list(text: str) -> frozenset[int]:
    """The kernel's lists of numbers: `0,4-6`."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
