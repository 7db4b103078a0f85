"""A study in both its homes, written without a search: 14 small networks, rungs, free scores, a limit."""

from __future__ import annotations

import random
import uuid
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from nas.study import EVALUATION, optuna_storage
from searchspace import Architecture, Stage
from searchspace.blocks import Conv
from studies import StudyStore

RECIPE = {"training": {"epochs": 10, "rungs": [3]}, "data": {}}
WORTH = {"residual": 0.12, "conv": 0.0}


def learnt_study(storage: str, name: str = "learnt", *, trials: int = 14, seed: int = 0) -> None:
    """Every second trial ends at the rung, and the last one within the schedule after it, where scores are low.

    Accuracy follows stage1/family; the limit is 2 million MACs.
    """
    rng = random.Random(seed)
    store = StudyStore(storage)
    row = store.open_study(name, {"dataset": "digits", "space": "test", "epochs": 10, "objective": "val_accuracy"})
    home = optuna_storage(store)
    study = optuna.create_study(storage=home, study_name=name, direction="maximize")
    for number in range(trials):
        architecture = Architecture(stages=(Stage(block=Conv(width=8 + number)),), resolution=8)
        macs = 100_000 * (number + 1)
        store.record_architecture(architecture.digest, architecture.to_json(), 1000 + number, macs, 500)
        family = list(WORTH)[number // 2 % 2]
        evaluation_id, full = str(uuid.uuid4()), number % 2 == 0
        store.start_evaluation(
            evaluation_id=evaluation_id, study_id=row.id, trial_number=number, digest=architecture.digest,
            base_digest=None, choices={"stage1/family": family, "stage1/width": 16 if number % 3 else 8}, recipe=RECIPE,
            seed=0, device="cpu", versions={}, fingerprint="f", batch_size=128,
        )  # fmt: skip
        accuracy = 0.5 + WORTH[family] + rng.gauss(0, 0.01)
        last = 10 if full else 8 if number == trials - 1 else 3
        for epoch in (epoch for epoch in (1, 3, 8, 10) if epoch <= last):
            reached = accuracy + (0.2 if epoch > 3 else 0) if epoch in (3, 10) else rng.uniform(0.1, 0.3)
            store.record_epoch(evaluation_id, epoch, train_loss=1.0, val_accuracy=reached, seconds=2.0)
        status, final = ("COMPLETE", accuracy + 0.2) if full else ("PRUNED", accuracy if last == 3 else reached)
        store.finish_evaluation(evaluation_id, status, val_accuracy=final)
        noted: dict[str, Any] = {EVALUATION: evaluation_id, "macs": macs, "jacov": accuracy, "zen": rng.random()}
        state = TrialState.COMPLETE if full else TrialState.PRUNED
        study.add_trial(
            create_trial(
                state=state, value=final if full else None, user_attrs=noted, constraints={"macs": macs / 2e6 - 1}
            )
        )
    home.remove_session()
    home.engine.dispose()
    store.close()
