"""What the store hands out: frozen records, and the words for the states they can be in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

JSON = Any
"""A value that `json` can write: None, bool, int, float, str, and lists and string-keyed mappings of them."""

RUNNING: Final = "RUNNING"
COMPLETE: Final = "COMPLETE"
PRUNED: Final = "PRUNED"
FAIL: Final = "FAIL"
INTERRUPTED: Final = "INTERRUPTED"
STATUSES: Final = (RUNNING, COMPLETE, PRUNED, FAIL, INTERRUPTED)
TERMINAL_STATUSES: Final = (COMPLETE, PRUNED, FAIL, INTERRUPTED)
TRAINED_STATUSES: Final = (COMPLETE, PRUNED, FAIL)
"""An evaluation in one of these has used its budget; an interrupted one may be trained again."""

OPEN: Final = "OPEN"
CLAIMED: Final = "CLAIMED"
DONE: Final = "DONE"
SLOT_STATES: Final = (OPEN, CLAIMED, DONE)


@dataclass(frozen=True)
class Study:
    """One search under one name; `id` is a UUID and `settings` what a resumed search must repeat."""

    id: str
    name: str
    settings: Mapping[str, JSON]
    created_at: datetime


@dataclass(frozen=True)
class Evaluation:
    """One training of one architecture, with the architecture's JSON and cost; times are UTC, durations seconds."""

    id: str
    study_id: str
    trial_number: int
    digest: str
    base_digest: str | None
    status: str
    reason: str | None
    val_accuracy: float | None
    epochs: int
    batch_size: int
    seconds: float | None
    images_per_second: float | None
    latency_ms: float | None
    seed: int
    device: str
    fingerprint: str
    started_at: datetime
    ended_at: datetime | None
    params: int
    macs: int
    activations: int
    choices: Mapping[str, JSON]
    recipe: Mapping[str, JSON]
    versions: Mapping[str, JSON]
    architecture_json: str
    base_architecture_json: str | None


@dataclass(frozen=True)
class Duration:
    """How long an evaluation took: its cost, epochs, seconds in all, and those of its fastest epoch."""

    params: int
    macs: int
    activations: int
    epochs: int
    seconds: float
    epoch_seconds: float


@dataclass(frozen=True)
class ConfirmedTraining:
    """One training of a confirmation, with the architecture's JSON and cost; times are UTC, durations seconds.

    `role` is leader, baseline or random; `trial_number` is a leader's. `test_accuracy` is None until the test split was
    measured, which is done for a winner and what it is compared with alone. `chosen_at` is when this training's weights
    were last named as the winner's.
    """

    id: str
    study_id: str
    digest: str
    role: str
    name: str
    trial_number: int | None
    seed: int
    status: str
    epochs: int
    val_accuracy: float | None
    test_accuracy: float | None
    seconds: float | None
    device: str
    fingerprint: str
    started_at: datetime
    ended_at: datetime | None
    chosen_at: datetime | None
    reason: str | None
    recipe: Mapping[str, JSON]
    versions: Mapping[str, JSON]
    params: int
    macs: int
    activations: int
    architecture_json: str


@dataclass(frozen=True)
class Slot:
    """One unit of a study's budget as it was when read; `attempt` is the fencing token of a claim."""

    study_id: str
    slot_no: int
    state: str
    attempt: int
    owner: str | None
    evaluation_id: str | None
    beat: int
    reason: str | None
