"""What projects and keys ask of the collector, and suppressed people."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_LIMITS = ("rate_limit_per_s", "daily_quota", "max_properties")


def upgrade() -> None:
    """Projects and keys that are there already get what a new one gets."""
    with op.batch_alter_table("projects") as table:
        table.add_column(sa.Column("ip", sa.String(9), nullable=False, server_default="none"))
        table.add_column(
            sa.Column("respect_dnt", sa.Boolean, nullable=False, server_default=sa.true())
        )
        table.add_column(sa.Column("bots", sa.String(4), nullable=False, server_default="flag"))
    with op.batch_alter_table("write_keys") as table:
        for name in _LIMITS:
            table.add_column(sa.Column(name, sa.Integer))
    op.create_table(
        "suppressions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("project_id", sa.Integer, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False, server_default=sa.func.now()),
        sa.UniqueConstraint("project_id", "digest"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Forget them: everything is stored again, of everybody."""
    op.drop_table("suppressions")
    with op.batch_alter_table("write_keys") as table:
        for name in _LIMITS:
            table.drop_column(name)
    with op.batch_alter_table("projects") as table:
        for name in ("ip", "respect_dnt", "bots"):
            table.drop_column(name)
