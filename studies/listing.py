"""Rows as DataFrames: the list of studies, an evaluation's curve, a study's exports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Executable, Select, func, select

from studies.records import COMPLETE, STATUSES
from studies.tables import ArchitectureRow, EpochRow, EvaluationRow, ExportRow, ScalingRow, StudyRow

if TYPE_CHECKING:
    from pandas import DataFrame

_DTYPES: Final = (
    dict.fromkeys(("trial", "params", "macs", "activations", "epochs", "epoch", "batch_size", "seed"), "int64")
    | dict.fromkeys(("val_accuracy", "test_accuracy", "best_val_accuracy", "train_loss", "learning_rate"), "float64")
    | dict.fromkeys(("seconds", "images_per_second", "latency_ms"), "float64")
    | dict.fromkeys((status.lower() for status in STATUSES), "int64")
    | dict.fromkeys(("created", "started_at", "ended_at"), "datetime64[us, UTC]")
)


def to_frame(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> DataFrame:
    """The rows under these column names, each column of one type even where there are no rows or only nulls."""
    import pandas as pd  # half a second that workers, which only write, need not spend

    frame = pd.DataFrame([tuple(row) for row in rows], columns=list(columns))
    return frame.astype({name: _DTYPES[name] for name in columns if name in _DTYPES})


def read_frame(connection: Connection, query: Executable) -> DataFrame:
    """The query's result."""
    result = connection.execute(query)
    return to_frame(result, list(result.keys()))


def studies(connection: Connection) -> DataFrame:
    """One line a study, the newest first: evaluations per status, best validation accuracy of the COMPLETE."""
    evaluation = (EvaluationRow.study_id, EvaluationRow.status)
    query = select(*evaluation, func.count(), func.max(EvaluationRow.val_accuracy)).group_by(*evaluation)
    counts: dict[tuple[str, str], int] = {}
    best: dict[str, float | None] = {}
    for study_id, status, number, accuracy in connection.execute(query):
        counts[study_id, status] = number
        if status == COMPLETE:
            best[study_id] = accuracy
    lines = [
        (row.name, row.created_at, *(counts.get((row.id, status), 0) for status in STATUSES), best.get(row.id))
        for row in connection.execute(newest_first())
    ]
    return to_frame(lines, ["name", "created", *(status.lower() for status in STATUSES), "best_val_accuracy"])


def newest_first() -> Select[*tuple[Any, ...]]:
    """Id, name and creation time of every study."""
    return select(StudyRow.id, StudyRow.name, StudyRow.created_at).order_by(StudyRow.created_at.desc(), StudyRow.name)


def curve(connection: Connection, evaluation_id: str) -> DataFrame:
    """The epochs of an evaluation in their order; seconds are each epoch's own."""
    columns = (EpochRow.epoch, EpochRow.train_loss, EpochRow.val_accuracy, EpochRow.learning_rate, EpochRow.seconds)
    query = select(*columns).where(EpochRow.evaluation_id == evaluation_id).order_by(EpochRow.epoch)
    return read_frame(connection, query)


def scalings(connection: Connection) -> DataFrame:
    """The short trainings of scaled networks, those of one network together, each direction's in the order of seeds."""
    member, start = ArchitectureRow, ScalingRow.start_digest
    query = select(
        start,
        ScalingRow.direction,
        ScalingRow.digest,
        member.params,
        member.macs,
        member.activations,
        ScalingRow.epochs,
        ScalingRow.seed,
        ScalingRow.val_accuracy,
        ScalingRow.seconds,
        ScalingRow.device,
        ScalingRow.fingerprint,
        ScalingRow.created_at.label("created"),
    ).join(member, member.digest == ScalingRow.digest)
    return read_frame(connection, query.order_by(start, ScalingRow.epochs, ScalingRow.direction, ScalingRow.seed))


def exports(connection: Connection, study_id: str) -> DataFrame:
    """The exports of a study, the newest first."""
    query = (
        select(
            EvaluationRow.trial_number.label("trial"),
            ExportRow.path,
            ExportRow.val_accuracy,
            ExportRow.test_accuracy,
            ExportRow.architecture_sha256,
            ExportRow.weights_sha256,
            ExportRow.created_at.label("created"),
        )
        .join(EvaluationRow, EvaluationRow.id == ExportRow.evaluation_id)
        .where(EvaluationRow.study_id == study_id)
    )
    return read_frame(connection, query.order_by(ExportRow.created_at.desc(), ExportRow.id))
