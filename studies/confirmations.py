"""The rows of confirmations: one training of a leader, or of what it is compared with, by the final recipe.

A row is one training: the same architecture, recipe, seed and data of a study are the same row.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, select, update

from studies.column_types import clean_text, finite, finite_json
from studies.listing import read_frame
from studies.records import COMPLETE, FAIL, INTERRUPTED, JSON, RUNNING, ConfirmedTraining
from studies.tables import ArchitectureRow, ConfirmationRow, table
from studies.upsert import insert_or_replace

if TYPE_CHECKING:
    from pandas import DataFrame

_CONFIRMATION = table(ConfirmationRow)
_SHORT_TEXT = 255
ROLES = ("leader", "baseline", "random")
ENDS = (COMPLETE, FAIL, INTERRUPTED)
_COLUMNS = (
    ConfirmationRow.role,
    ConfirmationRow.name,
    ConfirmationRow.seed,
    ConfirmationRow.status,
    ConfirmationRow.val_accuracy,
    ConfirmationRow.test_accuracy,
    ArchitectureRow.params,
    ArchitectureRow.macs,
    ConfirmationRow.epochs,
    ConfirmationRow.seconds,
    ConfirmationRow.digest,
    ConfirmationRow.device,
    ConfirmationRow.started_at,
    ConfirmationRow.ended_at,
    ConfirmationRow.reason,
    ConfirmationRow.recipe,
)

Transaction = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class Confirmations:
    """The confirmations of a store's studies; each method is one transaction and may be repeated after a crash."""

    reading: Transaction
    writing: Transaction

    def start(
        self,
        *,
        study_id: str,
        digest: str,
        role: str,
        name: str,
        trial_number: int | None,
        seed: int,
        recipe: Mapping[str, JSON],
        fingerprint: str,
        device: str,
        versions: Mapping[str, JSON],
    ) -> str:
        """Begin a training as RUNNING and return its id; a complete one of this architecture, recipe, seed and data
        stays as it is, any other is begun anew. The digest must have been recorded.
        """
        values = {"study_id": study_id, "digest": digest, "role": role, "name": name, "trial_number": trial_number}
        values |= {"seed": seed, "recipe": recipe, "fingerprint": fingerprint, "device": device, "versions": versions}
        with self.writing() as connection:
            return _start(connection, values, _now())

    def finish(
        self,
        training_id: str,
        status: str,
        *,
        val_accuracy: float | None = None,
        epochs: int = 0,
        seconds: float | None = None,
        reason: str | None = None,
    ) -> bool:
        """End a training as COMPLETE, FAIL or INTERRUPTED; False, and nothing changed, where it is complete already."""
        values = {"val_accuracy": val_accuracy, "epochs": epochs, "seconds": seconds, "reason": reason}
        with self.writing() as connection:
            return _finish(connection, training_id, status, values, _now())

    def record_test(self, training_id: str, test_accuracy: float) -> None:
        """Keep a test accuracy; one that was kept before stays, since the test split is measured once."""
        first = (_CONFIRMATION.c.id == training_id, _CONFIRMATION.c.test_accuracy.is_(None))
        with self.writing() as connection:
            connection.execute(update(_CONFIRMATION).where(*first).values(test_accuracy=finite(test_accuracy)))

    def choose(self, training_id: str, trial_number: int | None) -> None:
        """Name a training as the one whose weights stand for the winner, a trial, from now on.

        It may have been trained before there was a trial of its network.
        """
        values = {"role": "leader", "trial_number": trial_number, "chosen_at": _now()}
        with self.writing() as connection:
            connection.execute(update(_CONFIRMATION).where(_CONFIRMATION.c.id == training_id).values(values))

    def find(self, training_id: str) -> ConfirmedTraining | None:
        """One training with its architecture; None where none of this id (`confirmation_id`) was begun."""
        with self.reading() as connection:
            row = connection.execute(_select().where(ConfirmationRow.id == training_id)).one_or_none()
        return None if row is None else ConfirmedTraining(**row._mapping)

    def chosen(self, study_id: str) -> ConfirmedTraining | None:
        """The training that was chosen last; None where the study was not confirmed."""
        mine = (ConfirmationRow.study_id == study_id, ConfirmationRow.chosen_at.is_not(None))
        query = _select().where(*mine).order_by(ConfirmationRow.chosen_at.desc(), ConfirmationRow.id).limit(1)
        with self.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else ConfirmedTraining(**row._mapping)

    def every(self, study_id: str) -> list[ConfirmedTraining]:
        """All trainings of a study, the oldest first."""
        query = _select().where(ConfirmationRow.study_id == study_id)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(ConfirmationRow.started_at, ConfirmationRow.id)).all()
        return [ConfirmedTraining(**row._mapping) for row in rows]

    def dataframe(self, study_id: str) -> DataFrame:
        """All trainings of a study, the oldest first, a line each."""
        query = select(*_COLUMNS).join(ArchitectureRow, ArchitectureRow.digest == ConfirmationRow.digest)
        mine = query.where(ConfirmationRow.study_id == study_id)
        with self.reading() as connection:
            return read_frame(connection, mine.order_by(ConfirmationRow.started_at, ConfirmationRow.id))


def confirmation_id(study_id: str, digest: str, recipe: Mapping[str, JSON], seed: int, fingerprint: str) -> str:
    """The id of a training, which follows from what is trained on what and how."""
    key = json.dumps([study_id, digest, finite_json(recipe), seed, fingerprint], sort_keys=True)
    return str(uuid.uuid5(uuid.NAMESPACE_URL, key))


def _start(connection: Connection, values: Mapping[str, Any], now: datetime) -> str:
    """Begin a training as RUNNING, in place of one that did not complete; its id. A complete one stays as it is."""
    if values["role"] not in ROLES:
        raise ValueError(f"a confirmation's role is {', '.join(ROLES)}, not {values['role']!r}")
    identity = {name: values[name] for name in ("study_id", "digest", "recipe", "seed", "fingerprint")}
    row = {**values, "id": confirmation_id(**identity), "status": RUNNING, "epochs": 0, "started_at": now}
    row |= {name: clean_text(row[name], _SHORT_TEXT) for name in ("name", "device", "fingerprint")}
    row |= dict.fromkeys(("val_accuracy", "test_accuracy", "seconds", "reason", "ended_at", "chosen_at"))
    if _lock_status(connection, row["id"]) != COMPLETE:
        insert_or_replace(connection, _CONFIRMATION, row)
    return row["id"]


def _finish(connection: Connection, training_id: str, status: str, values: Mapping[str, Any], now: datetime) -> bool:
    """Give a training its end; False, and nothing changed, where it is complete already."""
    if status not in ENDS:
        raise ValueError(f"a confirmation's training ends {', '.join(ENDS)}, not {status!r}")
    if _lock_status(connection, training_id) in (None, COMPLETE):
        return False
    row = {
        "status": status,
        "val_accuracy": finite(values["val_accuracy"]),
        "epochs": values["epochs"],
        "seconds": finite(values["seconds"]),
        "reason": clean_text(values["reason"]),
        "ended_at": now,
    }
    connection.execute(update(_CONFIRMATION).where(_CONFIRMATION.c.id == training_id).values(row))
    return True


def _select() -> Select[*tuple[Any, ...]]:
    costs = (ArchitectureRow.params, ArchitectureRow.macs, ArchitectureRow.activations)
    query = select(*_CONFIRMATION.c, *costs, ArchitectureRow.json.label("architecture_json"))
    return query.join(ArchitectureRow, ArchitectureRow.digest == _CONFIRMATION.c.digest)


def _lock_status(connection: Connection, training_id: str) -> str | None:
    """The status, which nobody else can change until the transaction ends; None where there is no row."""
    return connection.scalar(select(ConfirmationRow.status).where(ConfirmationRow.id == training_id).with_for_update())


def _now() -> datetime:
    return datetime.now(UTC)
