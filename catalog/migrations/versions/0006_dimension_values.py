"""Values of dimensions that stand for themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """None yet: the next ones seen are the first."""
    op.create_table(
        "dimension_values",
        sa.Column("project", sa.String(63), primary_key=True),
        sa.Column("statistic", sa.String(63), primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("created_at", sa.DateTime, nullable=False, server_default=sa.func.now()),
    )


def downgrade() -> None:
    """Forget them."""
    op.drop_table("dimension_values")
