"""How Alembic sees the database: our tables, our version table, the caller's connection and transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from studies.schema import VERSION_TABLE, include_name
from studies.tables import Base


def run() -> None:
    """Run the wanted migrations on the connection that the caller put into the configuration."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        include_name=include_name,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


run()
