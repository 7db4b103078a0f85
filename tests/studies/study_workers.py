"""What the tests run in processes of their own; started by spawn, so each function stands in a module."""

from __future__ import annotations

import os
import time
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

from sqlalchemy import select, update

from studies import CLAIMED, OPEN, Slot, StudyStore
from studies.tables import SlotRow, table


def claim_all(store: StudyStore, study_id: str, budget: int, claim: Any, barrier: Barrier, results: Queue[Any]) -> None:
    """Claim and close slots until there is none, and report their numbers."""
    owner, mine = f"worker {os.getpid()}", []
    barrier.wait(60)
    while (slot := claim(store, study_id, owner, budget)) is not None:
        mine.append(slot.slot_no)
        store.close_slot(slot)
    results.put(mine)


def open_store(url: str, barrier: Barrier, results: Queue[Any]) -> None:
    """Open a store at the same moment as others, and report what went wrong."""
    barrier.wait(60)
    try:
        with StudyStore(url) as store:
            store.open_study("shared", {"epochs": 10})
        results.put(None)
    except Exception as error:
        results.put(repr(error))


def honest_claim(store: StudyStore, study_id: str, owner: str, budget: int) -> Slot | None:
    return store.claim_slot(study_id, owner, budget)


def careless_claim(store: StudyStore, study_id: str, owner: str, budget: int) -> Slot | None:
    """A planted bug: look in one transaction, write in another, compare nothing."""
    slots = table(SlotRow)
    with store.reading() as connection:
        found = connection.execute(
            select(slots.c.slot_no, slots.c.attempt)
            .where(slots.c.study_id == study_id, slots.c.state == OPEN, slots.c.slot_no <= budget)
            .order_by(slots.c.slot_no)
        ).first()
    if found is None:
        return None
    time.sleep(0.002)
    mine = (slots.c.study_id == study_id) & (slots.c.slot_no == found.slot_no)
    with store.engine.begin() as connection:
        connection.execute(update(slots).where(mine).values(state=CLAIMED, owner=owner, attempt=found.attempt + 1))
    return Slot(study_id, found.slot_no, CLAIMED, found.attempt + 1, owner, None, 0, None)


def run_together(function: Any, count: int, *arguments: Any) -> list[Any]:
    """What `count` spawned processes report that begin at the same moment."""
    context = get_context("spawn")
    barrier, results = context.Barrier(count), context.Queue()
    processes = [context.Process(target=function, args=(*arguments, barrier, results)) for _ in range(count)]
    for process in processes:
        process.start()
    reports = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * count
    return reports
