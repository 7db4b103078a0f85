"""The speed case of small trials side by side, each in its own process as a search's workers are."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from speed_loops import Case, Elsewhere, ours, plain

NETWORK = "residual"


def side_by_side(arguments: argparse.Namespace) -> Iterator[dict]:
    """Total images per second of so many trials at once, each on its share of the cores, beside those of one with all.

    All forms are measured in turn, `--epochs` times; on a CPU also two plain loops with torch's own number of threads,
    as two naive processes have them.
    """
    cuda = arguments.device.startswith("cuda")
    cores = len(os.sched_getaffinity(0))
    case = Case(
        NETWORK, arguments.batch_sizes[0], arguments.images, arguments.count, arguments.device, arguments.epochs + 1
    )
    numbers = [number for number in arguments.at_once if cuda or number <= cores]
    forms = {f"{number} at once": (ours, replace(case, threads=max(1, cores // number)), number) for number in numbers}
    if not cuda:
        forms["2 plain loops"] = (plain, case, 2)
    with ExitStack() as open_processes:
        groups = {
            name: [open_processes.enter_context(Elsewhere(loop, each)) for _ in range(number)]
            for name, (loop, each, number) in forms.items()
        }
        speeds: dict[str, list[float]] = {name: [] for name in groups}
        for turn in range(arguments.epochs + 1):
            for name, group in groups.items():
                total = _together(group, case.batch_size, arguments.count)
                if turn:
                    speeds[name].append(total)
    alone = speeds[f"{numbers[0]} at once"]
    for name, measured in speeds.items():
        ratios = [mine / one for mine, one in zip(measured, alone, strict=True)]
        yield {
            "case": "side by side",
            "network": NETWORK,
            "form": name,
            "cores": cores,
            "epochs": arguments.epochs,
            "images_per_second": [round(speed) for speed in measured],
            "ratio_to_one": round(statistics.median(ratios), 2),
            "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
        }


def _together(group: Sequence[Elsewhere], batch_size: int, count: int) -> float:
    """Images per second of all, from the first question to the last answer, validation included."""
    started = time.monotonic()
    for process in group:
        process.ask()
    for process in group:
        process.answer()
    return len(group) * (count * 9 // 10 // batch_size) * batch_size / (time.monotonic() - started)
