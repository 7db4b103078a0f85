"""A whole search on NAS-Bench-201 (Dong and Yang 2020), CIFAR-10, as `nas search` does it: one JSON line a seed.

    python benchmarks/whole_search.py --nb201 nb201_cifar10.csv.xz [--seeds 40] [--arms "tpe,pool + evolution"]

The CSV is that of search_quality.py, with `reachable` and free scores (Abdelfattah et al. 2021; Mellor et al. 2021) of
the cells that have it. Arms with a pool look at `POOL` random cells, rank them by `SCORES` among cells of about as many
FLOPs, and begin with the best ones; what the scores take is charged. Trainings of 12 epochs follow for 70 % of the
budget, full ones of the best for the rest; a cell that was trained before costs nothing, as it is not trained again. A
budget is counted in mean full trainings. The last lines are means over the seeds, with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import csv
import json
import lzma
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import optuna
from search_quality import FULL, LOW_SHARE, SHORT, Sampler, Table, ask, line, nb201

from nas.samplers import EvolutionSampler, make_sampler

BUDGETS = (10, 25)
POOL, TAKEN, BINS, TOP = 100, 10, 4, 4  # as in `nas search`
SCORES = ("jacov", "params")
SCORE_EPOCHS = 10 / 200  # of a cell's free scores

FreeScores = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Arm:
    """Whether a pool comes first, and whether the sampler ranks children by free scores until its surrogate does."""

    pool: bool
    scored: bool = False

    def sampler(self, name: str, table: Table, scores: FreeScores) -> Sampler:
        if not self.scored:
            return partial(make_sampler, name)
        return lambda seed: EvolutionSampler(
            seed=seed, scores=lambda params: scores.get("".join(str(params[f"edge{at}"]) for at in range(6)), {})
        )


ARMS = {
    "tpe": Arm(pool=False),
    "evolution": Arm(pool=False),
    "pool + tpe": Arm(pool=True),
    "pool + evolution": Arm(pool=True),
    "pool + evolution with scores": Arm(pool=True, scored=True),
}


def free_scores(path: Path) -> FreeScores:
    with lzma.open(path, "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["reachable"] == "1"]
    return {row["key"]: {name: float(row[name]) for name in (*SCORES, "flops")} for row in rows}


def pool(table: Table, scores: FreeScores, rng: np.random.Generator) -> list[str]:
    """The best first, then each the farthest from those before, of the best quarter by rank sum within bins."""
    keys = ["".join(map(str, row)) for row in rng.integers(0, table.options, (POOL, table.digits))]
    keys = list(dict.fromkeys(keys))
    worth = dict.fromkeys(keys, -1.0)  # of what has no scores
    reachable = sorted((key for key in keys if key in scores), key=lambda key: scores[key]["flops"])
    for members in np.array_split(reachable, BINS):
        ranks = [np.argsort(np.argsort([scores[key][name] for key in members])) for name in SCORES]
        worth |= dict(zip(map(str, members), np.sum(ranks, axis=0) / max(1, len(members)), strict=True))
    best = sorted(keys, key=lambda key: -worth[key])[: max(TAKEN, len(keys) // TOP)]
    return _farthest_first(best)


def _farthest_first(keys: Sequence[str]) -> list[str]:
    digits = np.array([list(key) for key in keys])
    taken, nearest = list[int](), np.full(len(keys), np.inf)
    while len(taken) < min(TAKEN, len(keys)):
        taken.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, (digits != digits[taken[-1]]).sum(1))
        nearest[taken] = -1
    return [keys[index] for index in taken]


def short_trainings(
    table: Table, name: str, scores: FreeScores, seed: int, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """One short training after the other: a cell, and the epochs spent since the last one, of mean cost."""
    arm, study = ARMS[name], optuna.create_study(direction="maximize")
    waiting = 0.0
    if arm.pool:
        for key in pool(table, scores, rng):
            study.enqueue_trial({f"edge{place}": int(digit) for place, digit in enumerate(key)})
        waiting = POOL * SCORE_EPOCHS
    sampler = arm.sampler(name.removeprefix("pool + "), table, scores)
    for number in range(100_000):
        trial = ask(study, sampler, seed, number)
        key = table.suggest(trial)
        for score, value in scores.get(key, {}).items() if arm.scored else ():
            trial.set_user_attr(score, value)
        study.tell(trial, table.short[key])
        # Each suggestion of a sampler with scores may have scored four children.
        yield key, waiting + SHORT * table.cost[key] + (4 * SCORE_EPOCHS if arm.scored else 0.0)
        waiting = 0.0


def regrets(table: Table, name: str, scores: FreeScores, seed: int, budgets: Sequence[int]) -> list[float]:
    """Of one search for each budget; a smaller budget's short trainings are the first of a larger one's."""
    rng, spent, seen, found = np.random.default_rng(seed), 0.0, dict[str, float](), list[float]()
    trainings = short_trainings(table, name, scores, seed, rng)
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
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    unknown = [name for name in arguments.arms.split(",") if name not in ARMS]
    if unknown:
        parser.error(f"no arm named {unknown[0]!r}; known are {', '.join(ARMS)}")
    table, scores = nb201(arguments.nb201), free_scores(arguments.nb201)
    found: dict[str, list[list[float]]] = {name: [] for name in arguments.arms.split(",")}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name, rows in found.items():
            rows.append(regrets(table, name, scores, seed, BUDGETS))
            print(json.dumps({"seed": seed, "arm": name, "regrets": np.round(rows[-1], 4).tolist()}), flush=True)
    for column, budget in enumerate(BUDGETS):
        values = {name: np.array(rows)[:, column] for name, rows in found.items()}
        for name, column_values in values.items():
            case = {"table": table.name, "arm": name, "budget": budget, "whole_search": True}
            line(case, column_values, values.get("tpe"))


if __name__ == "__main__":
    main()
