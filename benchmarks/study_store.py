"""How long the study store takes to answer over many evaluations: one JSON line a question.

    python benchmarks/study_store.py --storage sqlite:////tmp/many.db --count 100000

The database must be empty; it is filled with evaluations whose architectures, choices and recipes are as long as real
ones, and kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert

from studies import COMPLETE, FAIL, PRUNED, StudyStore, all_trials, leaderboard, pareto_front
from studies.tables import ArchitectureRow, EvaluationRow, table

CHUNK = 1000
ARCHITECTURE_CHARACTERS = 2500
CHOICES = {f"stage{stage}/{name}": 64 for stage in range(1, 6) for name in ("family", "width", "depth", "kernel")}
RECIPE = {"training": {"epochs": 10, "batch_size": 128, "learning_rate": 0.1}, "data": {"dataset": "cifar10"}}


def rows(study_id: str, count: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Architectures and their evaluations: three in four complete, accuracies to three digits, so that many tie."""
    chance, now = random.Random(0), datetime.now(UTC)
    for number in range(count):
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        params = int(10 ** chance.uniform(4, 7.5))
        cost = {"params": params, "macs": params * 300, "activations": params // 3}
        yield (
            {"digest": digest, **cost, "created_at": now, "json": "x" * ARCHITECTURE_CHARACTERS},
            {
                "id": str(uuid.UUID(int=chance.getrandbits(128))),
                "study_id": study_id,
                "trial_number": number,
                "digest": digest,
                "base_digest": None,
                "status": chance.choice((COMPLETE, COMPLETE, COMPLETE, PRUNED) * 10 + (FAIL,)),
                "val_accuracy": round(chance.betavariate(8, 3), 3),
                "epochs": 10,
                "batch_size": 128,
                "seconds": chance.uniform(10, 100),
                "images_per_second": 1000.0,
                "seed": 0,
                "device": "cpu",
                "fingerprint": "f" * 64,
                "started_at": now,
                "ended_at": now,
                "reason": None,
                "choices": CHOICES,
                "recipe": RECIPE,
                "versions": {"torch": "2.15.0", "python": "3.11.7"},
            },
        )


def fill(store: StudyStore, study_id: str, count: int) -> None:
    architectures: list[dict[str, Any]] = []
    evaluations: list[dict[str, Any]] = []
    for number, (architecture, evaluation) in enumerate(rows(study_id, count), 1):
        architectures.append(architecture)
        evaluations.append(evaluation)
        if number % CHUNK == 0 or number == count:
            with store.engine.begin() as connection:
                connection.execute(insert(table(ArchitectureRow)), architectures)
                connection.execute(insert(table(EvaluationRow)), evaluations)
            architectures, evaluations = [], []


def seconds_of(call: Callable[[], object], times: int) -> list[float]:
    """The durations of `times` calls after one that is not counted."""
    call()
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return durations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", required=True)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=5, help="Calls of each question.")
    arguments = parser.parse_args()
    with StudyStore(arguments.storage) as store:
        if len(store.studies()):
            parser.error("the database holds a study already; name an empty one")
        study_id = store.open_study("many", {}).id
        fill(store, study_id, arguments.count)
        questions: dict[str, Callable[[], object]] = {
            "leaderboard(top=10)": lambda: leaderboard(store, study_id, 10),
            "best": lambda: store.best(study_id),
            "pareto_front('params')": lambda: pareto_front(store, study_id, "params"),
            "trained_digests": lambda: store.trained_digests(study_id),
            "leaderboard": lambda: leaderboard(store, study_id),
            "all_trials": lambda: all_trials(store, study_id),
        }
        for name, call in questions.items():
            taken = seconds_of(call, arguments.times)
            numbers = {"median": statistics.median(taken), "least": min(taken), "most": max(taken)}
            print(json.dumps({"database": store.engine.dialect.name, "question": name, "seconds": numbers}), flush=True)


if __name__ == "__main__":
    main()
