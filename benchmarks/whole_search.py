"""A whole search on NAS-Bench-201 (Dong and Yang 2020), CIFAR-10, as `nas search` does it: one JSON line a seed.

    python benchmarks/whole_search.py --nb201 nb201_cifar10.csv.xz [--seeds 40] [--arms "tpe,pool + evolution"]

The CSV is that of search_quality.py, with `reachable` and free scores (Abdelfattah et al. 2021; Mellor et al. 2021) of
the cells that have it. Arms with a pool begin with the best of `MOST` random cells by `nas.pool.choose`, which are
charged for `--scores`. The sampler is told parameters and FLOPs, as `nas search` tells it what networks cost.
Trainings of 12 epochs follow for 70 % of the budget, full ones of the best for the rest; a cell that was trained before
costs nothing, as it is not trained again. A budget is counted in mean full trainings. The last lines are means over the
seeds, with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import csv
import json
import lzma
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import optuna
from search_quality import FULL, LOW_SHARE, SHORT, Table, ask, line, nb201

from nas.pool import MOST, SCORES, choose
from nas.samplers import make_sampler

BUDGETS = (10, 25)
TAKEN = 10  # as `nas search` does of a budget of 30 trials and more
SCORE_EPOCHS = 10 / 200  # of a cell's free scores
ARMS = ("tpe", "evolution", "pool + tpe", "pool + evolution")

FreeScores = Mapping[str, Mapping[str, float]]


def free_scores(path: Path, names: Sequence[str]) -> FreeScores:
    with lzma.open(path, "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["reachable"] == "1"]
    return {row["key"]: {name: float(row[name]) for name in names} for row in rows}


def pool(table: Table, scores: FreeScores, names: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The best first, then each the farthest from those before."""
    drawn = rng.integers(0, table.options, (MOST, table.digits))
    keys = list(dict.fromkeys("".join(map(str, row)) for row in drawn))
    codes = np.eye(table.options)[[list(map(int, key)) for key in keys]].reshape(len(keys), -1)
    flops = [round(1e6 * table.counts[key]["flops"]) for key in keys]
    return [keys[place] for place in choose([scores.get(key, {}) for key in keys], flops, codes, TAKEN, names)]


def short_trainings(
    table: Table, arm: str, scores: FreeScores, names: Sequence[str], seed: int, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """One short training after the other: a cell, and the epochs spent since the last one, of mean cost."""
    study, waiting = optuna.create_study(direction="maximize"), 0.0
    if arm.startswith("pool + "):
        for key in pool(table, scores, names, rng):
            study.enqueue_trial({f"edge{place}": int(digit) for place, digit in enumerate(key)})
        waiting = MOST * SCORE_EPOCHS
    sampler = arm.removeprefix("pool + ")
    for number in range(100_000):
        trial = ask(study, lambda of_trial: make_sampler(sampler, of_trial, table.scores), seed, number)
        key = table.suggest(trial)
        for name, count in table.counts[key].items():
            trial.set_user_attr(name, count)
        study.tell(trial, table.short[key])
        yield key, waiting + SHORT * table.cost[key]
        waiting = 0.0


def regrets(
    table: Table, arm: str, scores: FreeScores, names: Sequence[str], seed: int, budgets: Sequence[int]
) -> list[float]:
    """Of one search for each budget; a smaller budget's short trainings are the first of a larger one's."""
    rng, spent, seen, found = np.random.default_rng(seed), 0.0, dict[str, float](), list[float]()
    trainings = short_trainings(table, arm, scores, names, seed, rng)
    left = sorted(budgets)
    for key, epochs in trainings:
        epochs = 0.0 if key in seen else epochs
        if spent + epochs > LOW_SHARE * left[0] * FULL:
            found.append(_best_in_full(table, seen, spent, left.pop(0) * FULL, np.random.default_rng(seed)))
            if not left:
                return found
        spent += epochs
        seen[key] = table.short[key]
    raise AssertionError("a search has no end of trainings")


def _best_in_full(
    table: Table, seen: Mapping[str, float], spent: float, total: float, rng: np.random.Generator
) -> float:
    leader = (-1.0, "")
    for key in sorted(seen, key=lambda key: -seen[key]):
        spent += FULL * table.cost[key]
        if spent > total and leader[1]:
            break
        leader = max(leader, (float(rng.choice(table.trainings[key])), key))
    return table.best - float(table.trainings[leader[1]].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nb201", type=Path, required=True, help="NAS-Bench-201 on CIFAR-10, .csv.xz.")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--scores", default=",".join(SCORES), help="Columns by which the pool is ranked.")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    unknown = [name for name in arguments.arms.split(",") if name not in ARMS]
    if unknown:
        parser.error(f"no arm named {unknown[0]!r}; known are {', '.join(ARMS)}")
    names = arguments.scores.split(",")
    table, scores = nb201(arguments.nb201), free_scores(arguments.nb201, names)
    found: dict[str, list[list[float]]] = {name: [] for name in arguments.arms.split(",")}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name, rows in found.items():
            rows.append(regrets(table, name, scores, names, seed, BUDGETS))
            print(json.dumps({"seed": seed, "arm": name, "regrets": np.round(rows[-1], 4).tolist()}), flush=True)
    for column, budget in enumerate(BUDGETS):
        values = {name: np.array(rows)[:, column] for name, rows in found.items()}
        for name, column_values in values.items():
            case = {"table": table.name, "arm": name, "budget": budget, "pool_by": names}
            line(case, column_values, values.get("tpe"))


if __name__ == "__main__":
    main()
