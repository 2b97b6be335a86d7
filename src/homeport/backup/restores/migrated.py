"""Which migrations are in a database."""

from __future__ import annotations

from contextlib import suppress

import psycopg
from psycopg import sql

from homeport.database.connect import Connection

TABLES = ("homeport_migrations", "schema_migrations")


def versions(connection: Connection) -> set[str]:
    found: set[str] = set()
    schemas = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relname = ANY(%s) AND c.relkind = 'r' AND n.nspname !~ '^restored_'",
        (list(TABLES),),
    ).fetchall()
    for schema, table in schemas:
        with suppress(psycopg.Error):
            query = sql.SQL("SELECT version::text FROM {}").format(sql.Identifier(schema, table))
            found.update(version for (version,) in connection.execute(query).fetchall())
    return found
