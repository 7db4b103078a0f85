"""Whole searches with equal processor time, their winners trained alike: one JSON line a search, then what follows.

    python benchmarks/live_search.py --images FOLDER --out FILE [--arms ours,tpe+median] [--seeds 0,1,2,3,4]
    python benchmarks/live_search.py --images FOLDER --out FILE --retrain
    python benchmarks/live_search.py --out FILE --report

Every arm searches the same space on the same images with the trainings of `nas search`, one thread, until `--seconds`
of the process's CPU time are used up (other work on a shared machine does not count then). After each trial the network
that the search would name its winner is noted. `--retrain` trains each of those once more with one recipe and seeds
that no search had, and measures it on `--test-images` of the test split. The report pairs arms by seed: points at the
end, and how much sooner an arm's winner was as good as the final one of `tpe+median`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import nas
import nas.stop
from nas.progress import Progress
from nas.training.data import Dataset, Split, load_dataset
from nas.training.evaluate import Preprocess, accuracy
from nas.training.memory import keep_memory
from nas.training.recipe import Recipe
from nas.training.trial import train_architecture
from searchspace import Architecture
from studies import StudyStore

REFERENCE = "tpe+median"
ARMS: dict[str, dict[str, Any]] = {
    "ours": {},
    REFERENCE: {"sampler": "tpe", "pruner": "median"},
    "random": {"sampler": "random", "pruner": "none"},
    "ours without rungs": {"pruner": "median"},
    "ours without evolution": {"sampler": "tpe"},
    "rungs alone": {"sampler": "random"},
}


class Winners(Progress):
    """Notes, after every trial, which network leads the study and when."""

    def __init__(self, storage: str) -> None:
        self.storage, self.trials = storage, 0
        self.changes: list[tuple[float, str, str]] = []

    def ended(self, number: int, status: str, val_accuracy: float | None, reason: str | None) -> None:
        self.trials += 1
        with StudyStore(self.storage, create=False) as store:
            best = store.best(store.study().id)
        if best is not None and (not self.changes or self.changes[-1][1] != best.digest):
            self.changes.append((time.process_time(), best.digest, best.architecture_json))


def search(arguments: argparse.Namespace, arm: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    keep_memory()
    nas.stop.time = SimpleNamespace(monotonic=time.process_time)  # type: ignore[assignment]  # the clock of its deadline
    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{folder}/nas.db"
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            storage = f"sqlite:///{arguments.keep.resolve()}/{arm.replace(' ', '_')}-{seed}.db"
        winners = Winners(storage)
        started = time.process_time()
        nas.search(
            arguments.images,
            budget=100_000,
            time_limit=arguments.seconds,
            storage=storage,
            space=arguments.space,
            limit_train=arguments.limit_train,
            resolution=arguments.resolution,
            seed=seed,
            progress=winners,
            device="cpu",
            **ARMS[arm],
        )
    changes = [{"seconds": at - started, "digest": digest, "json": text} for at, digest, text in winners.changes]
    return {"case": "search", "arm": arm, "seed": seed, "trials": winners.trials, "winners": changes}


def retrain(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    torch.set_num_threads(1)
    keep_memory()
    data = load_dataset(arguments.images, limit_train=arguments.limit_train, resolution=arguments.resolution)
    test = data.read_test()
    assert test is not None, "the searches are judged on the test split"
    step = len(test) // min(len(test), arguments.test_images)
    test = Split(test.images[::step], test.labels[::step])
    known = {row["digest"] for row in rows if row["case"] == "retrained"}
    wanted = {winner["digest"]: winner["json"] for row in rows for winner in row.get("winners", ())}
    for digest in sorted(wanted.keys() - known):
        architecture = Architecture.from_json(wanted[digest])
        scores = [_test_accuracy(architecture, data, test, 1_000_003 + seed) for seed in range(arguments.again)]
        yield {"case": "retrained", "digest": digest, "test_accuracies": scores}


def _test_accuracy(architecture: Architecture, data: Dataset, test: Split, seed: int) -> float:
    without = replace(data, validation=Split(data.validation.images[:1], data.validation.labels[:1]))
    *_, last = train_architecture(architecture, without, Recipe(), seed=seed)
    assert last.network is not None
    preprocess = Preprocess(data, architecture.resolution, torch.device("cpu"))
    return accuracy(last.network, test, preprocess)


def report(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    worth = {row["digest"]: statistics.mean(row["test_accuracies"]) for row in rows if row["case"] == "retrained"}
    runs = {(row["arm"], row["seed"]): row for row in rows if row["case"] == "search"}
    for arm in dict.fromkeys(arm for arm, _ in runs):
        own = {seed: run for (name, seed), run in runs.items() if name == arm}
        yield {
            "case": "arm",
            "arm": arm,
            "searches": len(own),
            "trials": [run["trials"] for run in own.values()],
            "test_accuracy": round(statistics.mean(final(run, worth) for run in own.values()), 4),
        }
        pairs = [(run, runs[REFERENCE, seed]) for seed, run in own.items() if (REFERENCE, seed) in runs]
        if arm != REFERENCE and pairs:
            yield {"case": f"against {REFERENCE}", "arm": arm, **compared(pairs, worth)}


def final(run: dict[str, Any], worth: dict[str, float]) -> float:
    return worth[run["winners"][-1]["digest"]]


def compared(pairs: list[tuple[dict[str, Any], dict[str, Any]]], worth: dict[str, float]) -> dict[str, Any]:
    points = np.array([100 * (final(run, worth) - final(other, worth)) for run, other in pairs])
    sooner = np.array([times_sooner(run, other, worth) for run, other in pairs])
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(pairs), len(pairs)) for _ in range(2000)]
    return {
        "pairs": len(pairs),
        "points": interval(points.mean(), [points[chosen].mean() for chosen in drawn]),
        "times sooner, median": interval(np.median(sooner), [np.median(sooner[chosen]) for chosen in drawn]),
        "each": [round(float(each), 2) for each in sooner],
        "times sooner, of the means": interval(
            times_sooner_of_means(pairs, worth),
            [times_sooner_of_means([pairs[place] for place in chosen], worth) for chosen in drawn],
        ),
    }


def times_sooner(run: dict[str, Any], other: dict[str, Any], worth: dict[str, float]) -> float:
    """The reference's seconds until its last winner, over ours until one as good; 0 where none was."""
    wanted = final(other, worth)
    enough = [winner["seconds"] for winner in run["winners"] if worth[winner["digest"]] >= wanted]
    return other["winners"][-1]["seconds"] / enough[0] if enough else 0.0


def times_sooner_of_means(pairs: list[tuple[dict[str, Any], dict[str, Any]]], worth: dict[str, float]) -> float:
    """The same of the mean over the searches of what their winners are worth at a time."""
    runs, others = zip(*pairs, strict=True)
    wanted = statistics.mean(final(other, worth) for other in others)
    reached = [first_reached(searches, worth, wanted - 1e-9) for searches in (others, runs)]
    return reached[0] / reached[1] if reached[1] else 0.0


def first_reached(runs: Sequence[dict[str, Any]], worth: dict[str, float], wanted: float) -> float:
    """Seconds until the mean worth of the searches' winners is `wanted`; 0 where it never is."""
    for at in sorted(winner["seconds"] for run in runs for winner in run["winners"]):
        known = [[worth[each["digest"]] for each in run["winners"] if each["seconds"] <= at] for run in runs]
        if statistics.mean(each[-1] if each else 0.0 for each in known) >= wanted:
            return at
    return 0.0


def interval(value: Any, drawn: list[Any]) -> list[float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return [round(float(each), 2) for each in (value, low, high)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="folder with train/<class>/* and test/<class>/*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", default=f"ours,{REFERENCE}", help=f"of {', '.join(ARMS)}")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--limit-train", type=int, default=10_000)
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--test-images", type=int, default=5000)
    parser.add_argument("--again", type=int, default=2, help="trainings of a winner")
    parser.add_argument("--keep", type=Path, help="folder where the studies stay")
    parser.add_argument("--retrain", action="store_true")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    text = arguments.out.read_text() if arguments.out.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    if arguments.report:
        for line in report(rows):
            print(json.dumps(line), flush=True)
        return
    known = {(row["arm"], row["seed"]) for row in rows if row["case"] == "search"}
    pairs = [(arm, int(seed)) for seed in arguments.seeds.split(",") for arm in arguments.arms.split(",")]
    with arguments.out.open("a") as file:
        found = (search(arguments, arm, seed) for arm, seed in pairs if (arm, seed) not in known)
        for line in retrain(arguments, rows) if arguments.retrain else found:
            file.write(json.dumps(line) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
