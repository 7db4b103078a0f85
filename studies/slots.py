"""Budget slots: claimed by compare-and-swap, fenced by the attempt number, so that many workers can share a study.

Each function runs in the caller's transaction. A slot goes OPEN -> CLAIMED -> DONE, or back to OPEN with nothing spent.
Every claim raises `attempt`; whoever holds an older attempt changes nothing from then on.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from studies.column_types import clean_text
from studies.records import CLAIMED, DONE, OPEN, SLOT_STATES, Slot
from studies.tables import OWNER_LENGTH, SlotRow, table
from studies.upsert import insert_if_absent

_SLOT = table(SlotRow)


def ensure(connection: Connection, study_id: str, budget: int) -> None:
    """Make slots 1 to `budget` exist; existing ones stay as they are."""
    present = set(
        connection.scalars(select(SlotRow.slot_no).where(SlotRow.study_id == study_id, SlotRow.slot_no <= budget))
    )
    row = {"study_id": study_id, "state": OPEN, "attempt": 0, "beat": 0}
    missing = [number for number in range(1, budget + 1) if number not in present]
    insert_if_absent(connection, _SLOT, [{**row, "slot_no": number} for number in missing])


def first_open(connection: Connection, study_id: str, budget: int) -> Slot | None:
    """The open slot with the smallest number up to `budget`."""
    statement = (
        select(*_SLOT.c)
        .where(_SLOT.c.study_id == study_id, _SLOT.c.state == OPEN, _SLOT.c.slot_no <= budget)
        .order_by(_SLOT.c.slot_no)
        .limit(1)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else Slot(**row._mapping)


def claim(connection: Connection, slot: Slot, owner: str) -> Slot | None:
    """The slot as claimed by `owner`, or None where somebody else was faster."""
    owner = clean_text(owner, OWNER_LENGTH) or ""
    fresh = {"state": CLAIMED, "attempt": slot.attempt + 1, "owner": owner, "evaluation_id": None, "beat": 0}
    unchanged = and_(_SLOT.c.state == OPEN, _SLOT.c.attempt == slot.attempt)
    if not _change(connection, slot, unchanged, {**fresh, "reason": None}):
        return None
    return Slot(slot.study_id, slot.slot_no, CLAIMED, slot.attempt + 1, owner, None, 0, None)


def attach(connection: Connection, slot: Slot, evaluation_id: str) -> bool:
    """Write down which evaluation the claim works on; False when fenced."""
    return _change(connection, slot, _held(slot), {"evaluation_id": evaluation_id})


def beat(connection: Connection, slot: Slot) -> bool:
    """Count one sign of life; False when fenced."""
    return _change(connection, slot, _held(slot), {"beat": _SLOT.c.beat + 1})


def close(connection: Connection, slot: Slot) -> bool:
    """Spend the slot; True also when this attempt has done so before, False when fenced."""
    return _change(connection, slot, or_(_held(slot), _ended(slot, DONE)), {"state": DONE})


def release(connection: Connection, slot: Slot, reason: str | None) -> bool:
    """Give the slot back unspent; True also when this attempt has been given back before, False when fenced."""
    values = {"state": OPEN, "owner": None, "evaluation_id": None, "reason": clean_text(reason)}
    return _change(connection, slot, or_(_held(slot), _ended(slot, OPEN)), values)


def claimed(connection: Connection, study_id: str) -> list[Slot]:
    """The claimed slots in the order of their numbers."""
    statement = select(*_SLOT.c).where(_SLOT.c.study_id == study_id, _SLOT.c.state == CLAIMED).order_by(_SLOT.c.slot_no)
    return [Slot(**row._mapping) for row in connection.execute(statement)]


def counts(connection: Connection, study_id: str) -> dict[str, int]:
    """How many slots are in each state."""
    statement = select(_SLOT.c.state, func.count()).where(_SLOT.c.study_id == study_id).group_by(_SLOT.c.state)
    found = {row[0]: row[1] for row in connection.execute(statement)}
    return dict.fromkeys(SLOT_STATES, 0) | found


def _held(slot: Slot) -> ColumnElement[bool]:
    return _ended(slot, CLAIMED)


def _ended(slot: Slot, state: str) -> ColumnElement[bool]:
    return and_(_SLOT.c.state == state, _SLOT.c.attempt == slot.attempt)


def _change(connection: Connection, slot: Slot, condition: ColumnElement[bool], values: dict[str, Any]) -> bool:
    key = and_(_SLOT.c.study_id == slot.study_id, _SLOT.c.slot_no == slot.slot_no)
    return connection.execute(update(_SLOT).where(key, condition).values(values)).rowcount == 1
