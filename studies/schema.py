"""Bring a database's nas_* tables to the schema that this code knows, safely when several processes start at once."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from studies.connect import display
from studies.errors import StoreError

HEAD = "0001"
"""The newest revision in migrations/versions; a database at it needs no look at Alembic."""

VERSION_TABLE = "nas_alembic_version"
_POSTGRESQL_LOCK = 0x6E61735F  # "nas_": one number that every process of this program knows


def upgrade(engine: Engine) -> None:
    """Create or migrate the tables in one transaction that shuts out every other process doing the same.

    SQLite's BEGIN IMMEDIATE is that lock, PostgreSQL has an advisory one. Raises StoreError where the database is
    read-only or its schema is newer than this code.
    """
    with engine.begin() as connection:
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
    command.upgrade(config, "head")
