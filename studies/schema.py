"""Bring a database's nas_* tables to the schema that this code knows, safely when several processes start at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, func, inspect, select, text

from studies.connect import display
from studies.errors import StoreError, StoreUnavailable
from studies.tables import Base

HEAD = "0005"
"""The newest revision in migrations/versions; a database at it needs no look at Alembic."""

VERSION_TABLE = "nas_alembic_version"
_POSTGRESQL_LOCK = 0x6E61735F  # "nas_": one number that every process of this program knows
LOCK_SECONDS = 25  # that another process is waited for on MySQL: less than a statement may take
_MYSQL_LOCK = "CONCAT('nas_', MD5(DATABASE()))"  # the server's locks are shared by all its databases


def upgrade(engine: Engine) -> None:
    """Create or migrate the tables in one transaction that shuts out every other process doing the same.

    SQLite's BEGIN IMMEDIATE is that lock, PostgreSQL has an advisory one. MySQL has a lock by name and no transaction
    around changes of tables: each is final when it is made, and the revision's number is written last. So a revision
    must do no harm when it begins again over its own remains. Raises StoreError where the database is read-only or its
    schema is newer than this code.
    """
    with engine.connect() as connection, _mysql_lock(connection), connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRESQL_LOCK})
        current = _revision(connection)
        if current != HEAD:
            _migrate(connection, current)
        else:  # touches no row; a database that may not be written refuses it
            connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = version_num WHERE 1 = 0"))


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    """Whether Alembic may look at a thing in the database: of the tables, only ours; Optuna's would be dropped."""
    return kind != "table" or (name or "").startswith("nas_")


@contextmanager
def _mysql_lock(connection: Connection) -> Iterator[None]:
    """On MySQL a lock of the session's, which ends with the block or the connection; elsewhere nothing."""
    if connection.dialect.name != "mysql":
        yield
        return
    if not connection.scalar(text(f"SELECT GET_LOCK({_MYSQL_LOCK}, {LOCK_SECONDS})")):
        database = display(connection.engine.url)
        raise StoreUnavailable(f"{database} is busy: another process changes its tables; try again")
    connection.commit()
    try:
        yield
    finally:
        connection.execute(text(f"DO RELEASE_LOCK({_MYSQL_LOCK})"))
        connection.commit()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()


def _migrate(connection: Connection, current: str | None) -> None:
    from alembic import command  # only a database that is not at HEAD pays for the import
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        database = display(connection.engine.url)
        raise StoreError(f"{database} was made by a newer nas (its schema is {current}, ours {HEAD}); upgrade nas")
    if current is None and connection.dialect.name == "mysql":
        _drop_remains(connection)
    command.upgrade(config, "head")


def _drop_remains(connection: Connection) -> None:
    """Drop what a process left that died while it made the first tables; nothing is ever written before they are all.

    Raises StoreError where one of them holds a row, and is somebody's.
    """
    present = set(inspect(connection).get_table_names())
    remains = [table for table in reversed(Base.metadata.sorted_tables) if table.name in present]
    for table in remains:
        if connection.scalar(select(func.count()).select_from(table)):
            database = display(connection.engine.url)
            raise StoreError(f"{database} holds rows in {table.name} and no {VERSION_TABLE}; restore it from a copy")
    for table in remains:
        table.drop(connection)
