"""Alembic's scripts for the nas_* tables; `studies.schema` runs them, there is no alembic.ini."""
