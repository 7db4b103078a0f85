"""Tables of another program in the same database: whether they hold a text, and a key that its death left unmade."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from studies.connect import plain_errors

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


def ensure_unique(store: StudyStore, table: str, column: str, index: str) -> None:
    """Make the unique index of a column if there is none.

    SQLAlchemy's `create_all` makes a table and its indexes one by one, and never comes back for an index: a process
    that dies in between leaves a table that takes rows twice, where changes of tables are final (MySQL, SQLite).

    Raises:
        StoreError: rows are there twice.
    """
    with store.reading() as connection:
        found = inspect(connection).get_indexes(table)
    if not any(one["unique"] and one["column_names"] == [column] for one in found):
        with plain_errors(store.url), store.engine.begin() as connection:
            connection.execute(text(f"CREATE UNIQUE INDEX {index} ON {table} ({column})"))
