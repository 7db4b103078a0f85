"""Confirmations: trainings of a study's leaders, and of what they are compared with, by the final recipe."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLE, INDEX = "nas_confirmation", "ix_nas_confirmation_study_id"
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
MYSQL_TABLE: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    """Apply the change; what is there already was made by a process that died before the revision was written."""
    look = sa.inspect(op.get_bind())
    if not look.has_table(TABLE):
        create_confirmations()
        look.clear_cache()
    if not any(index["name"] == INDEX for index in look.get_indexes(TABLE)):
        op.create_index(INDEX, TABLE, ["study_id"])


def create_confirmations() -> None:
    """The table without its index."""
    op.create_table(
        TABLE,
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("study_id", sa.String(36), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("trial_number", sa.Integer(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("val_accuracy", sa.Double(), nullable=True),
        sa.Column("test_accuracy", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("device", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(255), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("chosen_at", MOMENT, nullable=True),
        sa.Column("reason", LONG_TEXT, nullable=True),
        sa.Column("recipe", LONG_TEXT, nullable=False),
        sa.Column("versions", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_confirmation"),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name="fk_nas_confirmation_study_id"),
        sa.ForeignKeyConstraint(["digest"], ["nas_architecture.digest"], name="fk_nas_confirmation_digest"),
        **MYSQL_TABLE,
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table(TABLE)
