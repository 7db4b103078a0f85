"""What scaled networks reached in short trainings, and the exponents learnt from it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
MYSQL_TABLE: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
DIGEST = ["nas_architecture.digest"]
START_INDEX = "ix_nas_scaling_start_digest"


def upgrade() -> None:
    """Apply the change; what a process made that died before the revision was written is made once."""
    present = set(sa.inspect(op.get_bind()).get_table_names())
    if "nas_scaling" not in present:
        _make_trainings()
    if not any(index["name"] == START_INDEX for index in sa.inspect(op.get_bind()).get_indexes("nas_scaling")):
        op.create_index(START_INDEX, "nas_scaling", ["start_digest"])
    if "nas_scaling_fit" not in present:
        _make_fits()


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("nas_scaling_fit")
    op.drop_table("nas_scaling")


def _make_trainings() -> None:
    op.create_table(
        "nas_scaling",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("start_digest", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(255), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("direction", sa.String(200), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("val_accuracy", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("device", sa.String(255), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("recipe", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_scaling"),
        sa.ForeignKeyConstraint(["start_digest"], DIGEST, name="fk_nas_scaling_start_digest"),
        sa.ForeignKeyConstraint(["digest"], DIGEST, name="fk_nas_scaling_digest"),
        **MYSQL_TABLE,
    )


def _make_fits() -> None:
    op.create_table(
        "nas_scaling_fit",
        sa.Column("start_digest", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(200), nullable=False),
        sa.Column("depth", sa.Double(), nullable=False),
        sa.Column("width", sa.Double(), nullable=False),
        sa.Column("resolution", sa.Double(), nullable=False),
        sa.Column("trainings", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("why", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("start_digest", "fingerprint", name="pk_nas_scaling_fit"),
        sa.ForeignKeyConstraint(["start_digest"], DIGEST, name="fk_nas_scaling_fit_start_digest"),
        **MYSQL_TABLE,
    )
