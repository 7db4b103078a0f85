"""Whether a text fits into a column of another program, whose tables follow the database's defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from studies.store import StudyStore


def can_hold(store: StudyStore, table: str, column: str, value: str) -> bool:
    """Whether the column's character set has all characters of `value`; on MySQL one may lack some.

    Elsewhere the whole database has one character set, and the store's own tables refuse what it lacks.
    """
    if store.engine.dialect.name != "mysql":
        return True
    named = "table_schema = DATABASE() AND table_name = :table AND column_name = :column"
    query = text(f"SELECT character_set_name FROM information_schema.columns WHERE {named}")
    with store.reading() as connection:
        characters = connection.execute(query, {"table": table, "column": column}).scalar_one()
        returned = text(f"SELECT CONVERT(CONVERT(:value USING {characters}) USING utf8mb4)")
        return connection.execute(returned, {"value": value}).scalar_one() == value
