"""Alembic's entry: runs the migrations on the engine that `Catalog.migrate` hands over."""

from alembic import context

from catalog.models import Base

with context.config.attributes["engine"].connect() as connection:
    if connection.dialect.name == "sqlite":
        # All or nothing, and one process at a time: the driver by itself opens no transaction
        # for changes of tables, so that two that start together would both make them.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    # Batch mode: SQLite cannot alter most of a table in place.
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
