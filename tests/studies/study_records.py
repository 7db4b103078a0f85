"""Short ways to put rows into a store."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from studies import Study, StudyStore

SETTINGS = {"dataset": "digits", "epochs": 10}


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def architecture(store: StudyStore, name: str = "a", params: int = 10, macs: int = 20, activations: int = 30) -> str:
    store.record_architecture(digest_of(name), f'{{"name": "{name}"}}', params, macs, activations)
    return digest_of(name)


def start(store: StudyStore, study: Study, trial: int, digest: str | None = None, **changes: Any) -> str:
    values: dict[str, Any] = {
        "evaluation_id": str(uuid.uuid4()),
        "study_id": study.id,
        "trial_number": trial,
        "digest": digest or architecture(store),
        "base_digest": None,
        "choices": {"stage1/width": 64},
        "recipe": {"epochs": 10},
        "seed": 2**63 - 1,
        "device": "cpu",
        "versions": {"torch": "2.15.0"},
        "fingerprint": "f" * 64,
        "batch_size": 128,
    }
    store.start_evaluation(**values | changes)
    return (values | changes)["evaluation_id"]


def evaluated(
    store: StudyStore,
    study: Study,
    trial: int,
    status: str,
    accuracy: float | None,
    latency_ms: float | None = None,
    **cost: int,
) -> str:
    digest = architecture(store, f"trial {trial}", **cost)
    evaluation_id = start(store, study, trial, digest, latency_ms=latency_ms)
    if status != "RUNNING":
        assert store.finish_evaluation(evaluation_id, status, val_accuracy=accuracy)
    return evaluation_id
