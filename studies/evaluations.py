"""The rows of one evaluation: its start, its epochs, its end, its exports; and reading them back.

Each function runs in the caller's transaction and may be repeated after a crash.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.orm import aliased

from studies.column_types import clean_text, finite
from studies.errors import UnknownTrial
from studies.records import COMPLETE, PRUNED, RUNNING, TERMINAL_STATUSES, TRAINED_STATUSES, Duration, Evaluation
from studies.tables import BEST_FIRST, AnySelect, ArchitectureRow, EpochRow, EvaluationRow, ExportRow, StudyRow, table
from studies.upsert import insert_if_absent, insert_or_replace

_EVALUATION = table(EvaluationRow)
_SHORT_TEXT = 255


def start(connection: Connection, values: Mapping[str, Any], now: datetime) -> None:
    """Insert a RUNNING evaluation, unless one with this id exists."""
    row = {**values, "status": RUNNING, "epochs": 0, "started_at": now}
    row |= {name: clean_text(row[name], _SHORT_TEXT) for name in ("device", "fingerprint")}
    row["latency_ms"] = finite(row["latency_ms"])
    insert_if_absent(connection, _EVALUATION, [row])


def record_epoch(connection: Connection, evaluation_id: str, epoch: int, values: Mapping[str, float | None]) -> bool:
    """Write or replace one epoch of a running evaluation; False, and nothing written, when it has ended."""
    if _lock_status(connection, evaluation_id) != RUNNING:
        return False
    numbers = {name: finite(value) for name, value in values.items()}
    insert_or_replace(connection, table(EpochRow), {"evaluation_id": evaluation_id, "epoch": epoch, **numbers})
    return True


def finish(connection: Connection, evaluation_id: str, status: str, values: Mapping[str, Any], now: datetime) -> bool:
    """Give a running evaluation its terminal status; see StudyStore.finish_evaluation."""
    if status not in TERMINAL_STATUSES:
        raise ValueError(f"an evaluation ends {', '.join(TERMINAL_STATUSES)}, not {status!r}")
    accuracy = finite(values["val_accuracy"])
    if _lock_status(connection, evaluation_id) != RUNNING:
        return _same_end(connection, evaluation_id, status, accuracy)
    epochs, seconds, last = _from_epochs(connection, evaluation_id)
    row = {
        "status": status,
        "ended_at": now,
        "reason": clean_text(values["reason"]),
        "val_accuracy": last if accuracy is None and status == PRUNED else accuracy,
        "epochs": epochs if values["epochs"] is None else values["epochs"],
        "seconds": seconds if values["seconds"] is None else finite(values["seconds"]),
        "images_per_second": finite(values["images_per_second"]),
    }
    if values["batch_size"] is not None:
        row["batch_size"] = values["batch_size"]
    connection.execute(update(_EVALUATION).where(_EVALUATION.c.id == evaluation_id).values(row))
    return True


def record_export(connection: Connection, values: Mapping[str, Any], now: datetime) -> str:
    """Write or replace the export of these weights at this path; returns its id, the same for the same export."""
    row = dict(values)
    row |= {name: finite(row[name]) for name in ("val_accuracy", "test_accuracy")}
    row |= {"path": clean_text(row["path"]), "created_at": now}
    key = "\n".join(str(row[name]) for name in ("evaluation_id", "path", "weights_sha256"))
    row["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, key))
    insert_or_replace(connection, table(ExportRow), row)
    return row["id"]


def by_id(connection: Connection, evaluation_id: str) -> Evaluation:
    """One evaluation with its architecture; raises UnknownTrial."""
    row = connection.execute(_select_evaluation().where(EvaluationRow.id == evaluation_id)).one_or_none()
    if row is None:
        raise UnknownTrial(f"no evaluation {evaluation_id!r}")
    return Evaluation(**row._mapping)


def by_number(connection: Connection, study_id: str, trial_number: int) -> Evaluation:
    """The evaluation of a trial number, the latest where a number was used twice; raises UnknownTrial."""
    mine = EvaluationRow.study_id == study_id
    found = _select_evaluation().where(mine, EvaluationRow.trial_number == trial_number)
    row = connection.execute(found.order_by(EvaluationRow.started_at.desc()).limit(1)).one_or_none()
    if row is not None:
        return Evaluation(**row._mapping)
    number = EvaluationRow.trial_number
    first, last = connection.execute(select(func.min(number), func.max(number)).where(mine)).one()
    name = connection.scalar(select(StudyRow.name).where(StudyRow.id == study_id))
    has = "no evaluated trial yet" if first is None else f"evaluated trials {first} to {last}"
    between = first is not None and first < trial_number < last
    why = " (what is over a limit or was trained before is not trained)" if between else ""
    raise UnknownTrial(f"study {name!r} has {has}, and no trial {trial_number}{why}")


def best(connection: Connection, study_id: str) -> Evaluation | None:
    """The first of the leaderboard's COMPLETE evaluations, else of its PRUNED ones."""
    accuracy = EvaluationRow.val_accuracy
    for status in (COMPLETE, PRUNED):
        these = (EvaluationRow.study_id == study_id, EvaluationRow.status == status, accuracy.is_not(None))
        highest = connection.scalar(select(accuracy).where(*these).order_by(accuracy.desc()).limit(1))
        if highest is not None:
            query = _select_evaluation().where(*these, accuracy >= highest).order_by(*BEST_FIRST).limit(1)
            return Evaluation(**connection.execute(query).one()._mapping)
    return None


def trained_digests(connection: Connection, study_id: str) -> set[str]:
    """The architectures that have used their budget."""
    done = EvaluationRow.status.in_(TRAINED_STATUSES)
    return set(connection.scalars(select(EvaluationRow.digest).where(EvaluationRow.study_id == study_id, done)))


def mean_seconds(connection: Connection, study_id: str) -> float | None:
    """The mean duration of a study's evaluations that were trained to an end; None where none was."""
    trained = _EVALUATION.c.status.in_(TRAINED_STATUSES)
    return connection.scalar(select(func.avg(_EVALUATION.c.seconds)).where(_EVALUATION.c.study_id == study_id, trained))


def durations(connection: Connection, study_id: str, most: int) -> list[Duration]:
    """Of the last evaluations that were COMPLETE or PRUNED and trained an epoch, the earliest first."""
    row, epoch = EvaluationRow, EpochRow
    timed = (row.study_id == study_id, row.status.in_((COMPLETE, PRUNED)), row.seconds > 0, row.epochs > 0)
    newest = (row.started_at.desc(), row.trial_number.desc())
    some = select(row.id).where(*timed).order_by(*newest).limit(most).subquery()
    columns = (ArchitectureRow.params, ArchitectureRow.macs, ArchitectureRow.activations, row.epochs, row.seconds)
    query = (
        select(*columns, func.min(epoch.seconds).label("epoch_seconds"))
        .join(some, some.c.id == row.id)
        .join(ArchitectureRow, ArchitectureRow.digest == row.digest)
        .join(epoch, epoch.evaluation_id == row.id)
        .where(epoch.seconds > 0)
        .group_by(row.id, row.started_at, row.trial_number, *columns)
        .order_by(row.started_at, row.trial_number)
    )
    return [Duration(**found._mapping) for found in connection.execute(query)]


def _select_evaluation() -> AnySelect:
    base = aliased(ArchitectureRow)
    return (
        select(
            *_EVALUATION.c,
            ArchitectureRow.params,
            ArchitectureRow.macs,
            ArchitectureRow.activations,
            ArchitectureRow.json.label("architecture_json"),
            base.json.label("base_architecture_json"),
        )
        .join(ArchitectureRow, ArchitectureRow.digest == EvaluationRow.digest)
        .outerjoin(base, base.digest == EvaluationRow.base_digest)
    )


def _lock_status(connection: Connection, evaluation_id: str) -> str:
    """The status, which nobody else can change until the transaction ends."""
    statement = select(EvaluationRow.status).where(EvaluationRow.id == evaluation_id).with_for_update()
    status = connection.scalar(statement)
    if status is None:
        raise UnknownTrial(f"no evaluation {evaluation_id!r}")
    return status


def _same_end(connection: Connection, evaluation_id: str, status: str, accuracy: float | None) -> bool:
    statement = select(EvaluationRow.status, EvaluationRow.val_accuracy).where(EvaluationRow.id == evaluation_id)
    stored_status, stored_accuracy = connection.execute(statement).one()
    return stored_status == status and accuracy in (None, stored_accuracy)


def _from_epochs(connection: Connection, evaluation_id: str) -> tuple[int, float | None, float | None]:
    mine = EpochRow.evaluation_id == evaluation_id
    epochs, seconds = connection.execute(select(func.count(), func.sum(EpochRow.seconds)).where(mine)).one()
    scored = select(EpochRow.val_accuracy).where(mine, EpochRow.val_accuracy.is_not(None))
    return epochs, seconds, connection.scalar(scored.order_by(EpochRow.epoch.desc()).limit(1))
