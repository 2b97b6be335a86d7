"""Alembic's environment: the connection is handed in by ``homeport.journal.store``."""

from alembic import context

from homeport.journal.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
