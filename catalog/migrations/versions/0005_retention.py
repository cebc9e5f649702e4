"""How long a project keeps its raw events and its exact numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Projects that are there already keep what the settings say."""
    with op.batch_alter_table("projects") as table:
        table.add_column(sa.Column("raw_days", sa.Integer))
        table.add_column(sa.Column("aggregate_days", sa.Integer))


def downgrade() -> None:
    """Forget them: the settings hold for every project."""
    with op.batch_alter_table("projects") as table:
        table.drop_column("aggregate_days")
        table.drop_column("raw_days")
