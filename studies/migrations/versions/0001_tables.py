"""Studies, architectures, evaluations, epochs, exports and budget slots."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
MYSQL_TABLE: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    """Apply the change."""
    create_studies()
    create_evaluations()
    create_epochs_and_exports()
    create_slots()


def create_studies() -> None:
    """Studies and the architectures that all of them share."""
    op.create_table(
        "nas_study",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("settings", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_study"),
        sa.UniqueConstraint("name", name="uq_nas_study_name"),
        **MYSQL_TABLE,
    )
    op.create_table(
        "nas_architecture",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("params", sa.BigInteger(), nullable=False),
        sa.Column("macs", sa.BigInteger(), nullable=False),
        sa.Column("activations", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("json", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_nas_architecture"),
        **MYSQL_TABLE,
    )


def create_evaluations() -> None:
    """Evaluations, with one index for ranking and one for a trial's number."""
    op.create_table(
        "nas_evaluation",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("study_id", sa.String(36), nullable=False),
        sa.Column("trial_number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("base_digest", sa.String(64), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("val_accuracy", sa.Double(), nullable=True),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("images_per_second", sa.Double(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("device", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(255), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("reason", LONG_TEXT, nullable=True),
        sa.Column("choices", LONG_TEXT, nullable=False),
        sa.Column("recipe", LONG_TEXT, nullable=False),
        sa.Column("versions", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_evaluation"),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name="fk_nas_evaluation_study_id"),
        sa.ForeignKeyConstraint(["digest"], ["nas_architecture.digest"], name="fk_nas_evaluation_digest"),
        sa.ForeignKeyConstraint(["base_digest"], ["nas_architecture.digest"], name="fk_nas_evaluation_base_digest"),
        **MYSQL_TABLE,
    )
    rank = ["study_id", "status", "val_accuracy", "trial_number", "digest"]
    op.create_index("ix_nas_evaluation_rank", "nas_evaluation", rank)
    op.create_index("ix_nas_evaluation_trial", "nas_evaluation", ["study_id", "trial_number"])


def create_epochs_and_exports() -> None:
    """What an evaluation left behind: its curve and its exports."""
    op.create_table(
        "nas_epoch",
        sa.Column("evaluation_id", sa.String(36), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("train_loss", sa.Double(), nullable=True),
        sa.Column("val_accuracy", sa.Double(), nullable=True),
        sa.Column("learning_rate", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("evaluation_id", "epoch", name="pk_nas_epoch"),
        sa.ForeignKeyConstraint(["evaluation_id"], ["nas_evaluation.id"], name="fk_nas_epoch_evaluation_id"),
        **MYSQL_TABLE,
    )
    op.create_table(
        "nas_export",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("evaluation_id", sa.String(36), nullable=False),
        sa.Column("val_accuracy", sa.Double(), nullable=True),
        sa.Column("test_accuracy", sa.Double(), nullable=True),
        sa.Column("architecture_sha256", sa.String(64), nullable=False),
        sa.Column("weights_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("path", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_export"),
        sa.ForeignKeyConstraint(["evaluation_id"], ["nas_evaluation.id"], name="fk_nas_export_evaluation_id"),
        **MYSQL_TABLE,
    )
    op.create_index("ix_nas_export_evaluation_id", "nas_export", ["evaluation_id"])


def create_slots() -> None:
    """Budget slots, with an index for the next open one."""
    op.create_table(
        "nas_slot",
        sa.Column("study_id", sa.String(36), nullable=False),
        sa.Column("slot_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(255), nullable=True),
        sa.Column("evaluation_id", sa.String(36), nullable=True),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("reason", LONG_TEXT, nullable=True),
        sa.PrimaryKeyConstraint("study_id", "slot_no", name="pk_nas_slot"),
        sa.ForeignKeyConstraint(["study_id"], ["nas_study.id"], name="fk_nas_slot_study_id"),
        sa.UniqueConstraint("evaluation_id", name="uq_nas_slot_evaluation_id"),
        **MYSQL_TABLE,
    )
    op.create_index("ix_nas_slot_state", "nas_slot", ["study_id", "state", "slot_no"])


def downgrade() -> None:
    """Take the change back."""
    for name in ("nas_slot", "nas_export", "nas_epoch", "nas_evaluation", "nas_architecture", "nas_study"):
        op.drop_table(name)
