"""Alembic's entry: runs the migrations on the engine that `Catalog.migrate` hands over."""

from alembic import context

from catalog.models import Base

with context.config.attributes["engine"].connect() as connection:
    # Batch mode: SQLite cannot alter most of a table in place.
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
