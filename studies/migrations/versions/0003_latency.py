"""The measured latency of an evaluation's architecture, beside the evaluation: it depends on the device."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE, COLUMN = "nas_evaluation", "latency_ms"


def upgrade() -> None:
    """Apply the change; where it is there already, a process died between it and the writing of the revision."""
    if not any(column["name"] == COLUMN for column in sa.inspect(op.get_bind()).get_columns(TABLE)):
        op.add_column(TABLE, sa.Column(COLUMN, sa.Double(), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column(TABLE, COLUMN)
