"""Costs beside the digest in an index of their own: rankings need not read the architectures' long text."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDEX = "ix_nas_architecture_cost"


def upgrade() -> None:
    """Apply the change; where it is there already, a process died between it and the writing of the revision."""
    present = sa.inspect(op.get_bind()).get_indexes("nas_architecture")
    if not any(index["name"] == INDEX for index in present):
        op.create_index(INDEX, "nas_architecture", ["digest", "params", "macs", "activations"])


def downgrade() -> None:
    """Take the change back."""
    op.drop_index(INDEX, "nas_architecture")
