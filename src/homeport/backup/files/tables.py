"""What is counted of a database as it is dumped, and again when a dump was loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""


def rows_of(connection: Connection[Any]) -> dict[str, int]:
    """Of each table, by ``schema.name``; of one that is inherited from, its own alone."""
    from psycopg import sql

    connection.execute("SET row_security = off")
    found = {}
    for schema, name in connection.execute(_TABLES).fetchall():
        counted = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, name))
        row = connection.execute(counted).fetchone()
        found[f"{schema}.{name}"] = int(row[0]) if row else 0
    return found
