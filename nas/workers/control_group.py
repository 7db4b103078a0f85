"""What a control group (a container, a batch job) leaves of the machine: CPU time and memory, in both versions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")


def cpu_quota(root: Path = ROOT, membership: Path = MEMBERSHIP) -> float | None:
    """CPUs' worth of time that the group may use; None without a limit, as where there are no groups."""
    quotas = []
    for folder in _folders(root, membership, "cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        quota, period = quota or _text(folder / "cpu.cfs_quota_us"), period or _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def available_memory(root: Path = ROOT, membership: Path = MEMBERSHIP, machine: Path = MEMORY) -> int | None:
    """Bytes that this process and its children may still take without swapping; None where nothing says so."""
    found = []
    for line in _text(machine).splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    for folder in _folders(root, membership, "memory"):
        limit = _text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")
        used = _text(folder / "memory.current") or _text(folder / "memory.usage_in_bytes")
        if limit.isdigit() and used.isdigit():
            found.append(max(0, int(limit) - int(used) + _reclaimable(folder)))
    return min(found, default=None)


def _reclaimable(folder: Path) -> int:
    """Files that the group has read, which count as its memory and give way."""
    for line in _text(folder / "memory.stat").splitlines():
        name, _, count = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and count.isdigit():
            return int(count)
    return 0


def _folders(root: Path, membership: Path, controller: str) -> Iterator[Path]:
    """The group's folder and those above it, in both versions; inside a container only the top one may be there."""
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        top = root if not controllers else root / controller
        if controllers and controller not in controllers.split(","):
            continue
        folder = Path(os.path.normpath(f"{top}/{path}"))
        for place in (folder, *folder.parents):
            if place.is_relative_to(top):
                yield place


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
