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
    """Epochs of both are timed in turn, since the machine's speed may change; shorter schedules are trained after."""
    with Elsewhere(ours, case) as mine, Elsewhere(plain, case) as theirs:
        pairs = [(next(mine), next(theirs)) for _ in range(case.epochs)]
    full, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    wanted = other[-1].val_accuracy
    reached = {case.epochs: full[-1].val_accuracy}
    for epochs in (number for number in SHORTER if number < case.epochs):
        reached[epochs] = _last(replace(case, epochs=epochs)).val_accuracy
        if reached[epochs] >= wanted:
            break
    enough = min((number for number, accuracy in reached.items() if accuracy >= wanted), default=None)
    faster = statistics.median(b.seconds / a.seconds for a, b in pairs)
    return {
        "ours": [epoch.val_accuracy for epoch in full],
        "plain": [epoch.val_accuracy for epoch in other],
        "schedules": dict(sorted(reached.items())),
        "an_epoch_times_faster": round(faster, 2),
        "epochs_needed": enough,
        "times_faster": None if enough is None else round(faster * case.epochs / enough, 2),
    }


def _last(case: Case) -> Epoch:
    with Elsewhere(ours, case) as epochs:
        return [next(epochs) for _ in range(case.epochs)][-1]
