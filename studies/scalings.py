"""What scaled networks reached in short trainings, and the exponents that were learnt from it.

Trainings are kept under all that their accuracy depends on, so that the same command finds them and repeats none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from studies import listing
from studies.column_types import clean_text, finite, finite_json
from studies.records import JSON
from studies.store import StudyStore
from studies.tables import ScalingFitRow, ScalingRow, table
from studies.upsert import insert_if_absent, insert_or_replace

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ScalingTraining:
    """One short training: which network, made of which, trained how, on which images, from which seed."""

    start_digest: str
    digest: str
    recipe: Mapping[str, JSON]
    seed: int
    fingerprint: str

    @property
    def id(self) -> str:
        """SHA-256 of all of it."""
        recipe = json.dumps(finite_json(self.recipe), sort_keys=True)
        parts = (self.start_digest, self.digest, self.fingerprint, str(self.seed), recipe)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class LearntScaling:
    """The exponents of depth, width and resolution learnt for a network on images, from so many trainings; and why."""

    start_digest: str
    fingerprint: str
    direction: str
    exponents: tuple[float, float, float]
    trainings: int
    created_at: datetime
    why: str


class Scalings:
    """The part of a StudyStore that scaling reads and writes; architectures must have been recorded before."""

    def __init__(self, store: StudyStore) -> None:
        self._store = store

    def record(
        self,
        training: ScalingTraining,
        *,
        direction: str,
        epochs: int,
        val_accuracy: float,
        seconds: float | None,
        device: str,
    ) -> None:
        """Keep what a training reached; one that is kept already stays as it is."""
        row = {
            "id": training.id,
            "start_digest": training.start_digest,
            "digest": training.digest,
            "fingerprint": clean_text(training.fingerprint, 255),
            "seed": training.seed,
            "direction": clean_text(direction, 200),
            "epochs": epochs,
            "val_accuracy": val_accuracy,
            "seconds": finite(seconds),
            "device": clean_text(device, 255),
            "created_at": datetime.now(UTC),
            "recipe": training.recipe,
        }
        with self._store._writing() as connection:
            insert_if_absent(connection, table(ScalingRow), [row])

    def accuracy(self, training: ScalingTraining) -> float | None:
        """What it reached; None where it was not trained yet."""
        query = select(ScalingRow.val_accuracy).where(ScalingRow.id == training.id)
        with self._store.reading() as connection:
            return connection.scalar(query)

    def trainings(self) -> DataFrame:
        """Every training with its network's cost."""
        with self._store.reading() as connection:
            return listing.scalings(connection)

    def learn(
        self,
        start_digest: str,
        fingerprint: str,
        *,
        direction: str,
        exponents: tuple[float, float, float],
        trainings: int,
        why: str,
    ) -> None:
        """Keep the exponents in place of those that were learnt for this network on these images before."""
        names = ("depth", "width", "resolution")
        row = {
            "start_digest": start_digest,
            "fingerprint": fingerprint,
            "direction": clean_text(direction, 200),
            **dict(zip(names, exponents, strict=True)),
            "trainings": trainings,
            "created_at": datetime.now(UTC),
            "why": clean_text(why),
        }
        with self._store._writing() as connection:
            insert_or_replace(connection, table(ScalingFitRow), row)

    def learnt(self, start_digest: str, fingerprint: str | None = None) -> LearntScaling | None:
        """What was learnt for a network on these images, or last on any; None where nothing was."""
        columns = table(ScalingFitRow).c
        query = select(*columns).where(ScalingFitRow.start_digest == start_digest)
        if fingerprint is not None:
            query = query.where(ScalingFitRow.fingerprint == fingerprint)
        with self._store.reading() as connection:
            found = connection.execute(query.order_by(ScalingFitRow.created_at.desc()).limit(1)).one_or_none()
        if found is None:
            return None
        return LearntScaling(
            start_digest=found.start_digest,
            fingerprint=found.fingerprint,
            direction=found.direction,
            exponents=(found.depth, found.width, found.resolution),
            trainings=found.trainings,
            created_at=found.created_at,
            why=found.why,
        )
