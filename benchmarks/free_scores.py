"""What free scores know of trained networks: one JSON line a case.

    python benchmarks/free_scores.py --nb201 nb201_cifar10.csv.xz
    python benchmarks/free_scores.py --table fidelity.jsonl --dataset cifar10-images
    python benchmarks/free_scores.py --times --dataset cifar10-images

`--nb201`: NAS-Bench-201 on CIFAR-10 (Dong and Yang 2020), a CSV with a row a cell and columns `key` (six digits, one an
edge), `val12` and `val200_s1..s3` (validation accuracies), `reachable` (1 where no operation is cut off; the others are
left out), `params`, `flops` and a column for each published score (Krishnakumar et al. 2022). Spearman's correlation
with the mean of the 200-epoch accuracies: over all cells, among the best tenth, and within eight bins of equal FLOPs
(the mean over the bins). Then what a pool is worth: of 100 cells, 10 are chosen by a score as `nas.pool` does it;
mean and best 12-epoch accuracy of the chosen ones, over seeds, and of ten at random.

`--table`: JSON lines of {"space", "architecture", "full": [validation accuracy an epoch]}; other cases and fields are
passed by, and so are spaces with fewer than a dozen networks. Our own scores of these architectures, on 64 training
images of `--dataset`, against the last accuracy: Spearman with 95 % intervals of 2,000 bootstrap samples of the
networks, also within three bins of equal MACs, and the interval of the difference to the better one of params and macs.

`--times`: median, least and most seconds a network and score, of `--count` networks of each space, by the clock and of
the processor (beside other work on the machine the first say little; with OMP_NUM_THREADS=1 the second are one core's).
"""

from __future__ import annotations

import argparse
import csv
import json
import lzma
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from nas.free_scores import FREE_SCORES, free_scores, scoring_images
from nas.free_scores.ranks import AZ_NAS, az_nas_total, bins, rank_sum
from nas.pool import MOST, SCORES, choose
from nas.training.data import Dataset, load_dataset
from searchspace import Architecture, cost
from searchspace.space import Task
from searchspace.spaces import SPACES

PUBLISHED = (
    *("synflow", "nwot", "jacov", "zen", "snip", "grad_norm", "grasp", "fisher", "l2_norm", "epe_nas", "plain"),
    *("params", "flops"),
)
SUMS = (
    ("synflow", "jacov"),
    ("synflow", "nwot"),
    ("nwot", "jacov"),
    ("synflow", "nwot", "jacov"),
    ("synflow", "nwot", "jacov", "zen"),
    ("synflow", "params"),
)
RESAMPLES = 2000
FEWEST = 12  # networks of a space: a correlation of fewer says nothing
Values = np.ndarray


def spearman(first: Values, second: Values) -> float:
    """The rank correlation; 0 where one of the two does not vary."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def within(costs: Values, count: int, first: Values, second: Values) -> float:
    """The mean rank correlation over bins of about equal cost."""
    numbers = bins(list(costs), count)
    return float(np.mean([spearman(first[numbers == number], second[numbers == number]) for number in set(numbers)]))


def interval(values: Sequence[float] | Values) -> list[float]:
    return [round(float(edge), 3) for edge in np.percentile(values, [2.5, 97.5])]


# Published tables


def nb201(path: Path, seeds: int) -> Iterator[dict[str, Any]]:
    rows = _cells(path)
    accuracy = np.array([row["accuracy"] for row in rows])
    flops = np.array([row["flops"] for row in rows])
    top = accuracy >= np.quantile(accuracy, 0.9)
    for names in [*((name,) for name in PUBLISHED), *SUMS]:
        score = rank_sum(rows, names)
        yield {
            "case": "nb201",
            "score": "+".join(names),
            "cells": len(rows),
            "all": round(spearman(score, accuracy), 3),
            "top_tenth": round(spearman(score[top], accuracy[top]), 3),
            "within_flops": round(within(flops, 8, score, accuracy), 3),
        }
    yield from _pools(rows, seeds)


def _cells(path: Path) -> list[dict[str, Any]]:
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as file:
        read = [row for row in csv.DictReader(file) if row["reachable"] == "1"]
    cells = []
    for row in read:
        accuracies = [float(row[f"val200_s{seed}"]) for seed in (1, 2, 3) if row[f"val200_s{seed}"]]
        scores = {name: float(row[name]) for name in PUBLISHED if row[name]}
        facts = {"key": row["key"], "accuracy": statistics.fmean(accuracies), "val12": float(row["val12"])}
        cells.append({**scores, **facts})
    return cells


def _pools(rows: list[dict[str, Any]], seeds: int) -> Iterator[dict[str, Any]]:
    """How good the ten chosen of a hundred are, for each way to choose, on equal draws."""
    codes = np.array([[float(digit == option) for digit in row["key"] for option in "01234"] for row in rows])
    ways: list[tuple[str, ...]] = [(), *((name,) for name in PUBLISHED), *SUMS]
    kept: dict[tuple[str, ...], list[tuple[float, float]]] = {names: [] for names in ways}
    for seed in range(seeds):
        drawn = np.random.default_rng(seed).choice(len(rows), MOST, replace=False)
        scores, flops = [rows[index] for index in drawn], [rows[index]["flops"] for index in drawn]
        for names in ways:
            chosen = choose(scores, flops, codes[drawn], 10, names) if names else range(10)
            values = [scores[place]["val12"] for place in chosen]
            kept[names].append((statistics.fmean(values), max(values)))
    for names, found in kept.items():
        means, bests = np.array(found).T
        yield {
            "case": "nb201_pool",
            "score": "+".join(names) or "none, ten at random",
            "seeds": seeds,
            "mean_val12": [round(float(means.mean()), 2), *interval(_means(means))],
            "best_val12": [round(float(bests.mean()), 2), *interval(_means(bests))],
        }


def _means(values: Values) -> Values:
    """Means of bootstrap samples."""
    rng = np.random.default_rng(0)
    return values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)


# Our own scores


def table(path: Path, dataset: Dataset, seed: int) -> Iterator[dict[str, Any]]:
    networks = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    networks = [row for row in networks if row.get("full") and "architecture" in row]
    for space in sorted({row.get("space", "") for row in networks}):
        members = [row for row in networks if row.get("space", "") == space]
        if len(members) < FEWEST:
            yield {"case": "table", "space": space, "networks": len(members), "score": None}
            continue
        scores = [_scores(row["architecture"], dataset, seed) for row in members]
        accuracy = np.array([row["full"][-1] for row in members])
        yield from _compared(space, scores, accuracy)
        again = [(row["full"][-1], row["full_again"][-1]) for row in members if row.get("full_again")]
        if len(again) > 2:
            yield {
                "case": "table_noise",
                "space": space,
                "networks": len(again),
                "all": round(spearman(*np.array(again).T), 3),
            }


def _scores(given: Any, dataset: Dataset, seed: int) -> dict[str, float]:
    text = given if isinstance(given, str) else json.dumps(given)
    architecture = Architecture.from_json(text)
    return free_scores(architecture, scoring_images(dataset, architecture.resolution, seed=seed), seed=seed)


def _compared(space: str, scores: list[dict[str, float]], accuracy: Values) -> Iterator[dict[str, Any]]:
    macs = np.array([each["macs"] for each in scores])
    names = sorted({name for each in scores for name in each})
    columns: dict[str, Values] = {name: rank_sum(scores, [name]) for name in names}
    columns |= {"+".join(some): rank_sum(scores, some) for some in SUMS}
    if all(name in names for name in AZ_NAS):
        columns["az_nas"] = az_nas_total(scores)
    resamples = np.random.default_rng(0).integers(len(accuracy), size=(RESAMPLES, len(accuracy)))
    size = max(("params", "macs"), key=lambda name: spearman(columns[name], accuracy))
    for name, values in columns.items():
        spread = [spearman(values[some], accuracy[some]) for some in resamples]
        gains = [
            found - spearman(columns[size][some], accuracy[some]) for found, some in zip(spread, resamples, strict=True)
        ]
        inside = [within(macs[some], 3, values[some], accuracy[some]) for some in resamples]
        best = accuracy >= np.median(accuracy)
        yield {
            "case": "table",
            "space": space,
            "score": name,
            "networks": len(accuracy),
            "missing": sum(name not in each for each in scores) if name in names else 0,
            "all": [round(spearman(values, accuracy), 3), *interval(spread)],
            "better_half": round(spearman(values[best], accuracy[best]), 3),
            "within_macs": [round(within(macs, 3, values, accuracy), 3), *interval(inside)],
            f"above_{size}": interval(gains),
        }


def times(dataset: Dataset, count: int) -> Iterator[dict[str, Any]]:
    task = Task(channels=dataset.channels, resolution=dataset.resolution, classes=len(dataset.classes))
    for space in SPACES.values():
        rng = random.Random(0)
        seconds: dict[str, list[tuple[float, float]]] = {}
        for number in range(count + 1):
            architecture = space.decode(space.random(rng), task)
            cost(architecture)
            for name, look in _timed(architecture, dataset).items():
                started = time.perf_counter(), time.process_time()
                look()
                if number:  # the first one makes kernels and memory
                    spent = time.perf_counter() - started[0], time.process_time() - started[1]
                    seconds.setdefault(name, []).append(spent)
        for name, found in seconds.items():
            clock, processor = (_spread(values) for values in zip(*found, strict=True))
            line = {"space": space.name, "score": name, "networks": count}
            yield {"case": "times", **line, "seconds": clock, "processor_seconds": processor}


def _spread(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in (statistics.median(values), min(values), max(values))]


def _timed(architecture: Architecture, dataset: Dataset) -> Mapping[str, Callable[[], object]]:
    images = scoring_images(dataset, architecture.resolution)

    def scored(*names: str) -> Callable[[], object]:
        return lambda: free_scores(architecture, images, names=names)

    each = {name: scored(name) for name in FREE_SCORES if name not in ("params", "macs")}
    return {**each, "+".join(SCORES): scored(*SCORES)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nb201", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--limit-train", type=int, default=4000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, default=11, help="networks of each space, for --times")
    parser.add_argument("--seeds", type=int, default=200, help="pools, for --nb201")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lines: list[Iterator[dict[str, Any]]] = []
    if given.nb201:
        lines.append(nb201(given.nb201, given.seeds))
    if given.table or given.times:
        dataset = load_dataset(given.dataset, limit_train=given.limit_train).to(given.device)
        lines += [table(given.table, dataset, given.seed)] if given.table else []
        lines += [times(dataset, given.count)] if given.times else []
    for case in lines:
        for line in case:
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
