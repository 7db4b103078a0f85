"""Inserts that may be repeated: a row that exists already is left alone, or replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite

_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_if_absent(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows of which no unique key is taken yet; the others stay as they are."""
    if not rows:
        return
    if connection.dialect.name == "mysql":  # its INSERT IGNORE would pass over a missing parent's row as well
        key = next(iter(table.primary_key))
        statement = mysql.insert(table).on_duplicate_key_update({key.name: key})
    else:
        statement = _INSERT[connection.dialect.name](table).on_conflict_do_nothing()
    connection.execute(statement, [dict(row) for row in rows])


def insert_or_replace(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert the row, or give the row that has its primary key the new values; the table has no other unique key."""
    if connection.dialect.name == "mysql":
        connection.execute(mysql.insert(table).values(dict(row)).on_duplicate_key_update(dict(row)))
        return
    keys = [column.name for column in table.primary_key]
    statement = _INSERT[connection.dialect.name](table).values(dict(row))
    changed = {name: statement.excluded[name] for name in row if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
