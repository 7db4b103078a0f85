"""The speed case of accuracies: after equally many epochs, and the time to what the plain loop reaches."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace

from speed_loops import Case, Elsewhere, Epoch, ours, plain

SHORTER = (1, 2, 3, 4)  # epochs of our schedules that are tried before the full one


def accuracies(arguments: argparse.Namespace) -> Iterator[dict]:
    """For each network and seed: validation accuracies after `--epochs` epochs of both loops, and how much sooner one
    of our schedules, each trained from the beginning, has what the plain loop has then.
    """
    batch_size = arguments.batch_sizes[0]
    for name in arguments.networks:
        lines = []
        for seed in range(arguments.seeds):
            case = Case(
                name, batch_size, arguments.images, arguments.count, arguments.device, arguments.epochs, seed=seed
            )
            lines.append(_one(case))
            yield {"case": "accuracy", "network": name, "seed": seed, "images": arguments.count, **lines[-1]}
        differences = [line["ours"][-1] - line["plain"][-1] for line in lines]
        ratios = [line["times_faster"] for line in lines if line["times_faster"]]
        yield {
            "case": "accuracy over seeds",
            "network": name,
            "epochs": arguments.epochs,
            "seeds": arguments.seeds,
            "difference_points": round(100 * statistics.mean(differences), 2),
            "differences": [round(100 * difference, 2) for difference in differences],
            "times_faster": round(statistics.geometric_mean(ratios), 2) if len(ratios) == len(lines) else None,
        }


def _one(case: Case) -> dict:
    full, theirs = _run(ours, case), _run(plain, case)
    wanted, seconds = theirs[-1].val_accuracy, sum(epoch.seconds for epoch in theirs)
    schedules = {case.epochs: full}
    for epochs in (number for number in SHORTER if number < case.epochs):
        schedules[epochs] = _run(ours, replace(case, epochs=epochs))
        if schedules[epochs][-1].val_accuracy >= wanted:
            break
    enough = [number for number, run in sorted(schedules.items()) if run[-1].val_accuracy >= wanted]
    spent = sum(epoch.seconds for epoch in schedules[enough[0]]) if enough else None
    return {
        "ours": [epoch.val_accuracy for epoch in full],
        "plain": [epoch.val_accuracy for epoch in theirs],
        "schedules": {number: run[-1].val_accuracy for number, run in sorted(schedules.items())},
        "plain_seconds": round(seconds, 1),
        "epochs_needed": enough[0] if enough else None,
        "seconds_needed": None if spent is None else round(spent, 1),
        "times_faster": None if spent is None else round(seconds / spent, 2),
    }


def _run(loop, case: Case) -> list[Epoch]:
    with Elsewhere(loop, case) as epochs:
        return [next(epochs) for _ in range(case.epochs)]
