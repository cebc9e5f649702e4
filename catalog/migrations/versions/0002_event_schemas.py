"""Event schemas, and what a source does with events that do not fit theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table; sources that are there go on without a check."""
    op.create_table(
        "event_schemas",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("project_id", sa.Integer, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("name", sa.String(500), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("avro", sa.Text, nullable=False),
        sa.Column("compatibility", sa.String(8), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False, server_default=sa.func.now()),
        sa.UniqueConstraint("project_id", "type", "name", "version"),
    )
    with op.batch_alter_table("sources") as sources:
        sources.add_column(
            sa.Column("schema_mode", sa.String(7), nullable=False, server_default="off")
        )


def downgrade() -> None:
    """Remove them."""
    with op.batch_alter_table("sources") as sources:
        sources.drop_column("schema_mode")
    op.drop_table("event_schemas")
