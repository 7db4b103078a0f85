"""The leaderboard and the Pareto front, computed in SQL, as DataFrames; accuracy is validation accuracy.

The leaderboard walks an index, status by status, and stops at `top`: it never sorts a whole study.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

from sqlalchemy import ColumnElement, and_, func, or_, select

from studies.errors import StoreError
from studies.listing import read_frame, to_frame
from studies.records import COMPLETE, FAIL, INTERRUPTED, PRUNED, RUNNING
from studies.tables import BEST_FIRST, AnySelect, ArchitectureRow, EvaluationRow

if TYPE_CHECKING:
    from pandas import DataFrame

    from studies.store import StudyStore

CostName = Literal["params", "macs", "activations"]

_COLUMNS = (
    EvaluationRow.trial_number.label("trial"),
    EvaluationRow.status,
    EvaluationRow.val_accuracy,
    ArchitectureRow.params,
    ArchitectureRow.macs,
    ArchitectureRow.activations,
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


def leaderboard(store: StudyStore, study_id: str, top: int | None = None) -> DataFrame:
    """The evaluations of a study, the best first, at most `top` of them; seconds are those of the training.

    COMPLETE ones by falling accuracy, ties by fewer parameters, then by trial; the PRUNED by their last accuracy; then
    the FAIL, RUNNING and INTERRUPTED. Of each status, those without an accuracy come last, by trial.
    """
    if top is not None and top < 1:
        raise StoreError(f"top must be 1 or more, not {top}")
    with store.reading() as connection:
        rows: list[Any] = []
        for query in rank_queries(study_id):
            limited = query if top is None else query.limit(top - len(rows))
            rows.extend(connection.execute(limited))
            if len(rows) == top:
                break
    return to_frame(rows, [column.key for column in _COLUMNS])


def pareto_front(store: StudyStore, study_id: str, cost: CostName) -> DataFrame:
    """The COMPLETE trials that no other beats in both accuracy and cost, the cheapest first; equal ones all stay."""
    query = pareto_query(study_id, cost)
    with store.reading() as connection:
        return read_frame(connection, query)


def all_trials(store: StudyStore, study_id: str) -> DataFrame:
    """Every evaluation with everything stored about it but its curve and architecture, in the order of trials."""
    query = _joined(*_COLUMNS, *_DETAILS).where(EvaluationRow.study_id == study_id)
    with store.reading() as connection:
        return read_frame(connection, query.order_by(EvaluationRow.trial_number, EvaluationRow.started_at))


def rank_queries(study_id: str) -> Iterator[AnySelect]:
    """The leaderboard's parts in their order; each follows the index ix_nas_evaluation_rank and can stop early."""
    mine = _joined(*_COLUMNS).where(EvaluationRow.study_id == study_id)
    for status in (COMPLETE, PRUNED, FAIL, RUNNING, INTERRUPTED):
        some = mine.where(EvaluationRow.status == status)
        yield some.where(EvaluationRow.val_accuracy.is_not(None)).order_by(*BEST_FIRST)
        yield some.where(EvaluationRow.val_accuracy.is_(None)).order_by(EvaluationRow.trial_number)


def pareto_query(study_id: str, cost: CostName) -> AnySelect:
    """The trials at the points of the front: the best accuracy at a cost, where it is above that of all lower costs."""
    if cost not in get_args(CostName):
        raise StoreError(f"the cost is one of {', '.join(get_args(CostName))}, not {cost!r}")
    price: ColumnElement[int] = getattr(ArchitectureRow, cost)
    accuracy = EvaluationRow.val_accuracy
    complete = and_(EvaluationRow.study_id == study_id, EvaluationRow.status == COMPLETE)
    scored = _joined(price.label("price"), func.max(accuracy).label("accuracy")).where(complete, accuracy.is_not(None))
    best = scored.group_by(price).subquery()
    cheaper = func.max(best.c.accuracy).over(order_by=best.c.price, rows=(None, -1)).label("cheaper")
    point = select(best.c.price, best.c.accuracy, cheaper).subquery()
    on_front = or_(point.c.cheaper.is_(None), point.c.accuracy > point.c.cheaper)
    query = _joined(*_COLUMNS).join(point, and_(point.c.accuracy == accuracy, point.c.price == price))
    return query.where(complete, on_front).order_by(price, EvaluationRow.trial_number)


def _joined(*columns: Any) -> AnySelect:
    return select(*columns).join(ArchitectureRow, ArchitectureRow.digest == EvaluationRow.digest)
