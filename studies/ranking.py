"""The leaderboard and the Pareto front as DataFrames; accuracy is validation accuracy.

The leaderboard walks an index, status by status, to the accuracy of the last that is wanted, and sorts no more than
those: not every database can stop in an index and sort ties only. The front's running maximum is taken here, because
MariaDB's takes time by the square.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from sqlalchemy import ColumnElement, and_, func, select

from studies.errors import StoreError
from studies.listing import read_frame, to_frame
from studies.records import COMPLETE, FAIL, INTERRUPTED, PRUNED, RUNNING
from studies.tables import BEST_FIRST, AnySelect, ArchitectureRow, EpochRow, EvaluationRow, table

if TYPE_CHECKING:
    from pandas import DataFrame

    from studies.store import StudyStore

CostName = Literal["params", "macs", "activations", "latency_ms"]
"""What a Pareto front may be of: counts of the architecture, and the latency, where it was measured."""

_COLUMNS = (
    EvaluationRow.trial_number.label("trial"),
    EvaluationRow.status,
    EvaluationRow.val_accuracy,
    ArchitectureRow.params,
    ArchitectureRow.macs,
    ArchitectureRow.activations,
    EvaluationRow.latency_ms,
    EvaluationRow.epochs,
    EvaluationRow.seconds,
    EvaluationRow.digest,
    EvaluationRow.reason,
)
_DETAILS = (
    EvaluationRow.images_per_second,
    EvaluationRow.batch_size,
    EvaluationRow.seed,
    EvaluationRow.device,
    EvaluationRow.started_at,
    EvaluationRow.ended_at,
    EvaluationRow.base_digest,
    EvaluationRow.fingerprint,
    EvaluationRow.choices,
    EvaluationRow.recipe,
    EvaluationRow.versions,
    EvaluationRow.id.label("evaluation_id"),
)

_ACCURACIES_AT_ONCE = 500  # in one statement


def leaderboard(store: StudyStore, study_id: str, top: int | None = None) -> DataFrame:
    """The evaluations of a study, the best first, at most `top` of them; seconds are those of the training.

    COMPLETE ones by falling accuracy, ties by fewer parameters, then by trial; the PRUNED by their last accuracy; then
    the FAIL, RUNNING and INTERRUPTED. Of each status, those without an accuracy come last, by trial.
    """
    if top is not None and top < 1:
        raise StoreError(f"top must be 1 or more, not {top}")
    with store.reading() as connection:
        rows: list[Any] = []
        for query, accuracies in rank_queries(study_id):
            if top is not None:
                query = query.limit(top - len(rows))
                last = None if accuracies is None else connection.scalar(accuracies.offset(top - len(rows) - 1))
                query = query if last is None else query.where(EvaluationRow.val_accuracy >= last)
            rows.extend(connection.execute(query))
            if len(rows) == top:
                break
    return to_frame(rows, [column.key for column in _COLUMNS])


def pareto_front(store: StudyStore, study_id: str, cost: CostName) -> DataFrame:
    """The COMPLETE trials that no other beats in both accuracy and cost, the cheapest first; equal ones all stay.

    Of latency_ms, those among the trials whose latency was measured.
    """
    query = _joined(*_COLUMNS).where(*_complete(study_id))
    rows: list[Any] = []
    with store.reading() as connection:
        front = _front(connection.execute(best_at_each_cost(study_id, cost)))
        accuracies = list(front.values())
        for first in range(0, len(accuracies), _ACCURACIES_AT_ONCE):
            some = accuracies[first : first + _ACCURACIES_AT_ONCE]
            rows.extend(connection.execute(query.where(EvaluationRow.val_accuracy.in_(some))))
    on_front = [row for row in rows if front.get(getattr(row, cost)) == row.val_accuracy]
    on_front.sort(key=lambda row: (getattr(row, cost), row.trial))
    return to_frame(on_front, [column.key for column in _COLUMNS])


def all_trials(store: StudyStore, study_id: str) -> DataFrame:
    """Every evaluation with everything stored about it but its curve and architecture, in the order of trials."""
    query = _joined(*_COLUMNS, *_DETAILS).where(EvaluationRow.study_id == study_id)
    with store.reading() as connection:
        return read_frame(connection, query.order_by(EvaluationRow.trial_number, EvaluationRow.started_at))


def all_curves(store: StudyStore, study_id: str) -> DataFrame:
    """The epochs of every evaluation, each's in their order: evaluation_id, epoch, val_accuracy."""
    columns = (EpochRow.evaluation_id, EpochRow.epoch, EpochRow.val_accuracy)
    query = select(*columns).join(EvaluationRow, EvaluationRow.id == EpochRow.evaluation_id)
    query = query.where(EvaluationRow.study_id == study_id).order_by(EpochRow.evaluation_id, EpochRow.epoch)
    with store.reading() as connection:
        return read_frame(connection, query)


def rank_queries(study_id: str) -> Iterator[tuple[AnySelect, AnySelect | None]]:
    """The leaderboard's parts in their order, each with its first accuracy alone; index ix_nas_evaluation_rank."""
    accuracy = EvaluationRow.val_accuracy
    for status in (COMPLETE, PRUNED, FAIL, RUNNING, INTERRUPTED):
        these = and_(EvaluationRow.study_id == study_id, EvaluationRow.status == status)
        scored = and_(these, accuracy.is_not(None))
        accuracies = select(accuracy).where(scored).order_by(accuracy.desc()).limit(1)
        yield _joined(*_COLUMNS).where(scored).order_by(*BEST_FIRST), accuracies
        yield _joined(*_COLUMNS).where(these, accuracy.is_(None)).order_by(EvaluationRow.trial_number), None


def best_at_each_cost(study_id: str, cost: CostName) -> AnySelect:
    """The highest accuracy of the COMPLETE trials at each cost, the cheapest first."""
    if cost not in get_args(CostName):
        raise StoreError(f"the cost is one of {', '.join(get_args(CostName))}, not {cost!r}")
    price: Any = EvaluationRow.latency_ms if cost == "latency_ms" else getattr(ArchitectureRow, cost)
    known = (*_complete(study_id), price.is_not(None))
    scored = _joined(price, func.max(EvaluationRow.val_accuracy)).where(*known)
    return scored.group_by(price).order_by(price)


def _front(best: Iterable[Sequence[Any]]) -> dict[float, float]:
    """Those costs, with their accuracies, whose accuracy is above that of all lower costs."""
    front: dict[float, float] = {}
    highest = -math.inf
    for price, accuracy in best:
        if accuracy > highest:
            front[price] = highest = accuracy
    return front


def _complete(study_id: str) -> tuple[ColumnElement[bool], ...]:
    scored = EvaluationRow.val_accuracy.is_not(None)
    return EvaluationRow.study_id == study_id, EvaluationRow.status == COMPLETE, scored


def _joined(*columns: Any) -> AnySelect:
    joined = select(*columns).join(ArchitectureRow, ArchitectureRow.digest == EvaluationRow.digest)
    # MariaDB would rather take the primary key, in whose pages the long text stands.
    return joined.with_hint(table(ArchitectureRow), "FORCE INDEX (ix_nas_architecture_cost)", "mysql")
