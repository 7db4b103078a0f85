"""Tables of another program in the same database: do they hold a text, a key left unmade, what is noted of trials."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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


def noted_of_trials(store: StudyStore, study_name: str, prefix: str) -> dict[int, dict[str, Any]]:
    """What Optuna keeps of each trial of a study, by the trial's number, in their order.

    That is its user attributes, and those system attributes whose names begin with `prefix`. Empty where Optuna's
    tables are not there, or its study was deleted.
    """
    queries = [
        (
            f"SELECT s.study_name, t.number, a.key, a.value_json FROM {table} a "
            "JOIN trials t ON t.trial_id = a.trial_id JOIN studies s ON s.study_id = t.study_id "
            "WHERE s.study_name = :study ORDER BY t.number"
        )
        for table in ("trial_user_attributes", "trial_system_attributes")
    ]
    noted: dict[int, dict[str, Any]] = {}
    with store.reading() as connection:
        if not inspect(connection).has_table("trial_system_attributes"):
            return {}
        for system, query in enumerate(queries):
            for name, number, key, value in connection.execute(text(_quoted(store, query)), {"study": study_name}):
                if name == study_name and (not system or key.startswith(prefix)):  # MySQL pads what it compares
                    noted.setdefault(number, {})[key] = json.loads(value)
    return dict(sorted(noted.items()))


def _quoted(store: StudyStore, query: str) -> str:
    """The query with the column `key`, a word of MySQL's own, quoted as the database does it."""
    return query.replace("a.key", f"a.{store.engine.dialect.identifier_preparer.quote_identifier('key')}")
