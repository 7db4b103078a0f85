"""Which short training tells best what a long one will come to: one JSON line a network, then what follows from them.

    python benchmarks/fidelity.py --images FOLDER --out FILE [--space tiny] [--networks 36]
    python benchmarks/fidelity.py --report FILE

Random networks of a space are trained several ways from the same split of real images, on one thread, timed by the
process's own CPU time:

- `full`: the long schedule, ten epochs, scored after each; `again`: the same with other seeds, scored at its end. It
  stands for what the network is worth, since no way of choosing has seen it.
- `rung`: a complete schedule of three epochs, whose rate anneals to zero; `rung16`: the same on images of 16 pixels.
- `warm`: seven epochs, a complete schedule, from the weights that `rung` left, for the first `--warm` networks.

The report has rank correlations of each with `again` (95 % bootstrap intervals over networks), what each costs, and
replays: networks come in random orders, a policy spends equal CPU time on them, and the network with the best score of
those that it trained furthest is chosen. Its worth is `again`. After a rung a network goes on for seven epochs, and its
score then is taken to be that of `full`; after one of 16 pixels it begins anew.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from nas.draws import propose
from nas.training.data import Dataset, load_dataset
from nas.training.loop import train
from nas.training.memory import keep_memory
from nas.training.recipe import Recipe
from nas.training.seeds import derive_seed
from searchspace import Architecture, ArchitectureError, Network, build
from searchspace.space import Task
from searchspace.spaces import find_space

LONG, SHORT = 10, 3
ORDERS = 4000
Curve = list[float]


def networks(arguments: argparse.Namespace, data: Dataset) -> Iterator[tuple[dict[str, Any], Any]]:
    """Random networks of the space, none twice."""
    space, rng, known = find_space(arguments.space), random.Random(arguments.seed), set[str]()
    task = Task(channels=data.channels, resolution=data.resolution, classes=len(data.classes))
    while len(known) < arguments.networks:
        choices = space.random(rng)
        try:
            proposal = propose(space, task, choices, known.__contains__)
        except ArchitectureError:
            continue
        if proposal is not None:
            known.add(proposal.architecture.digest)
            yield dict(choices), proposal


def trained(
    architecture: Architecture, data: Dataset, epochs: int, seed: int, start: Network | None = None
) -> tuple[Network, Curve, float]:
    """The network after a complete schedule, its accuracies, and the CPU seconds that it took."""
    started = time.process_time()
    torch.manual_seed(derive_seed(seed, "weights"))
    network = start or build(architecture)
    recipe = Recipe(epochs=epochs)
    scores = list(train(network, data, recipe, seed=seed, resolution=architecture.resolution))
    return network, [score.val_accuracy for score in scores], time.process_time() - started


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    torch.set_num_threads(1)
    keep_memory()
    data = load_dataset(arguments.images, limit_train=5000, validation_fraction=0.4)
    known = {row["digest"] for row in rows_of(arguments.out)}
    for number, (choices, proposal) in enumerate(networks(arguments, data)):
        architecture = proposal.architecture
        if architecture.digest in known:  # measured before an interruption
            continue
        small = architecture.changed(resolution=data.resolution // 2)
        _, full, full_seconds = trained(architecture, data, LONG, 1)
        _, again, _ = trained(architecture, data, LONG, 2)
        network, rung, rung_seconds = trained(architecture, data, SHORT, 3)
        _, rung16, rung16_seconds = trained(small, data, SHORT, 3)
        line = {
            "case": "network",
            "space": arguments.space,
            "choices": choices,
            "digest": architecture.digest,
            "architecture": architecture.model_dump(mode="json"),
            "params": proposal.cost.params,
            "macs": proposal.cost.macs,
            "activations": proposal.cost.activations,
            "full": full,
            "again": again,
            "rung": rung,
            "rung16": rung16,
            "seconds": {"full": full_seconds, "rung": rung_seconds, "rung16": rung16_seconds},
        }
        if number < arguments.warm:
            _, warm, warm_seconds = trained(architecture, data, LONG - SHORT, 4, network)
            line |= {"warm": warm}
            line["seconds"] |= {"warm": warm_seconds}
        yield line


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def report(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    worth = np.array([row["again"][-1] for row in rows])
    scores = {f"long schedule, epoch {epoch}": [row["full"][epoch - 1] for row in rows] for epoch in (2, 3, 5, LONG)}
    scores |= {f"short schedule, {SHORT} epochs": [row["rung"][-1] for row in rows]}
    scores |= {f"short schedule, {SHORT} epochs of 16 pixels": [row["rung16"][-1] for row in rows]}
    scores |= {name: [row[name] for row in rows] for name in ("params", "macs", "activations")}
    better = worth >= np.median(worth)
    full = sum(row["seconds"]["full"] for row in rows)
    for name, values in scores.items():
        yield {
            "case": "rank correlation with a long training",
            "score": name,
            "networks": len(rows),
            "all": correlation(np.array(values), worth),
            "better half": correlation(np.array(values)[better], worth[better]),
        }
    seconds = {name: sum(row["seconds"][name] for row in rows) / full for name in ("rung", "rung16")}
    yield {"case": "CPU time", "of the long training": {name: round(share, 3) for name, share in seconds.items()}}
    warm = [row for row in rows if "warm" in row]
    if warm:
        gains = np.array([row["warm"][-1] - (row["full"][-1] + row["again"][-1]) / 2 for row in warm])
        spread = gains.std(ddof=1) / len(gains) ** 0.5
        yield {
            "case": "from the short training's weights",
            "networks": len(warm),
            "points": round(100 * gains.mean(), 2),
            "standard error": round(100 * spread, 2),
        }
    yield from replays(rows)


def correlation(values: np.ndarray, worth: np.ndarray) -> list[float]:
    """Spearman's, with the middle 95 % of 2,000 bootstrap samples."""
    rng, count = np.random.default_rng(0), len(worth)
    drawn = [spearmanr(values[i], worth[i]).statistic for i in (rng.integers(0, count, count) for _ in range(2000))]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return [round(float(each), 2) for each in (spearmanr(values, worth).statistic, low, high)]


class Policy:
    """Spends CPU time on networks one after the other; `seen` holds (how far, score, row) of each."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.peers: dict[int, list[float]] = {}

    def train(self, row: dict[str, Any]) -> tuple[float, int, float]:
        """Seconds, how far it came, and its score there."""
        if self.kind.startswith("rungs"):
            return self._rungs(row, "rung16" if self.kind.endswith("16") else "rung")
        epoch = row["seconds"]["full"] / LONG
        for number, value in enumerate(row["full"], 1):
            if number < LONG and self._pruned(number, value):
                return number * epoch, number, value
        return LONG * epoch, LONG, row["full"][-1]

    def _rungs(self, row: dict[str, Any], rung: str) -> tuple[float, int, float]:
        if not self._among_the_best(SHORT, row[rung][-1], 3):
            return row["seconds"][rung], SHORT, row[rung][-1]
        rest = LONG if rung == "rung16" else LONG - SHORT  # other images want another beginning
        return row["seconds"][rung] + row["seconds"]["full"] * rest / LONG, LONG, row["full"][-1]

    def _among_the_best(self, step: int, value: float, factor: int) -> bool:
        peers = self.peers.setdefault(step, [])
        peers.append(value)
        return sorted(peers, reverse=True).index(value) < max(1, len(peers) // factor)

    def _pruned(self, epoch: int, value: float) -> bool:
        if self.kind == "asha":
            return epoch in (2, 4, 8) and not self._among_the_best(epoch, value, 2)
        if self.kind == "median" and epoch > 2:
            peers = self.peers.setdefault(epoch, [])
            pruned = len(peers) >= 5 and value < float(np.median(peers))
            peers.append(value)
            return pruned
        return False


def replays(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Mean worth of what a policy chooses, in points below the best of all, over random orders; paired by order."""
    best = max(row["again"][-1] for row in rows)
    mean = sum(row["seconds"]["full"] for row in rows) / len(rows)
    for budget in (5, 8, 12):
        regrets: dict[str, np.ndarray] = {}
        for kind in ("none", "median", "asha", "rungs", "rungs16"):
            rng = random.Random(0)
            orders = (rng.sample(rows, len(rows)) for _ in range(ORDERS))
            regrets[kind] = np.array([best - chosen(kind, order, budget * mean) for order in orders])
            yield {
                "case": "replay",
                "policy": kind,
                "budget in mean long trainings": budget,
                "orders": ORDERS,
                "regret in points": round(100 * float(regrets[kind].mean()), 2),
                "below none": round(100 * float((regrets["none"] - regrets[kind]).mean()), 2),
            }


def chosen(kind: str, order: Sequence[dict[str, Any]], seconds: float) -> float:
    policy, spent, leader = Policy(kind), 0.0, (-1, -1.0, 0.0)
    for row in order:
        taken, reached, score = policy.train(row)
        spent += taken
        if spent > seconds and leader[0] >= 0:
            break
        leader = max(leader, (reached, score, row["again"][-1]))
    return leader[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="folder with train/<class>/*")
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--networks", type=int, default=36)
    parser.add_argument("--warm", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    if arguments.report:
        for line in report(rows_of(arguments.report)):
            print(json.dumps(line), flush=True)
        return
    with arguments.out.open("a") as file:
        for line in measure(arguments):
            file.write(json.dumps(line) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
