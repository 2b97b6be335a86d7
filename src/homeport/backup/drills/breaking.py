"""What a drill breaks in a twin: which table, which column, by which statement; and rows merged back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import sql

from homeport.backup.drills.errors import NOTHING_TO_BREAK
from homeport.backup.physical.copy import Copy
from homeport.backup.physical.manifest import Manifest, Table
from homeport.database.connect import Connection
from homeport.kernel.errors import HomeportError

OURS = ("homeport",)
"""Schemas that are not the app's."""
BOOKS = ("homeport_migrations", "schema_migrations")
VALUES = {"S": "''", "N": "0", "B": "false", "D": "'2000-01-01'"}
"""By the category of a type (pg_type.typcategory)."""
_COLUMNS = """
SELECT a.attname, t.typcategory, a.attnotnull FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
AND a.attgenerated = '' AND a.attidentity = ''
AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY(i.indkey::int2[]))
ORDER BY a.attnum
"""
_KEY = """
SELECT a.attname FROM pg_index i JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place) ON true
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisprimary AND n.nspname = %s AND c.relname = %s ORDER BY k.place
"""


@dataclass(frozen=True, slots=True)
class Victim:
    database: str
    schema: str
    table: str
    rows: int
    column: str = ""
    key: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.table}" + (f".{self.column}" if self.column else "")

    def document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Victim:
        return cls(**{**document, "key": tuple(document["key"])})


def candidates(manifest: Manifest, databases: Iterable[str]) -> tuple[Table, ...]:
    """Tables of apps that have rows, the largest first. Raises ``drill.nothing_to_break``."""
    of = frozenset(databases)
    found = [
        t
        for t in manifest.tables
        if t.database in of and t.rows and t.schema not in OURS and t.name not in BOOKS
    ]
    if not found:
        raise NOTHING_TO_BREAK.error(
            "cannot rehearse it: no table of an app has rows", hint="try again when there are some"
        )
    return tuple(sorted(found, key=lambda t: (-t.rows, t.label)))


def drop_table(copy: Copy, tables: Iterable[Table]) -> Victim:
    """The first that can be dropped. What depends on it goes with it, as it would."""
    for t in tables:
        with copy.connect(t.database) as c:
            name = sql.Identifier(t.schema, t.name)
            try:
                c.execute(sql.SQL("DROP TABLE {} CASCADE").format(name))
            except psycopg.Error:
                continue
        return Victim(t.database, t.schema, t.name, t.rows)
    raise _none("no table can be dropped")


def with_column(copy: Copy, tables: Iterable[Table], *, keyed: bool) -> Iterator[tuple[Victim, str, bool]]:
    """(which, the category of its type, whether it takes no NULL), of columns that hold something.

    ``keyed``: only of tables with a primary key.
    """
    for t in tables:
        with copy.connect(t.database) as c:
            key = tuple(name for (name,) in c.execute(_KEY, (t.schema, t.name)).fetchall())
            if keyed and not key:
                continue
            for column, category, never_null in c.execute(_COLUMNS, (t.schema, t.name)).fetchall():
                filled = c.execute(
                    sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {} IS NOT NULL)").format(
                        sql.Identifier(t.schema, t.name), sql.Identifier(column)
                    )
                ).fetchone()
                if filled is not None and filled[0]:
                    yield Victim(t.database, t.schema, t.name, t.rows, column, key), category, never_null


def spoil(copy: Copy, tables: Iterable[Table]) -> tuple[Victim, int]:
    """An UPDATE without WHERE; how many rows it changed."""
    for victim, category, never_null in with_column(copy, tables, keyed=True):
        value = VALUES.get(category, "NULL")
        if value == "NULL" and never_null:
            continue
        with copy.connect(victim.database) as c:
            c.execute("SET session_replication_role = replica")
            column = sql.Identifier(victim.column)
            changing = sql.SQL("SELECT count(*) FROM {} WHERE {} IS DISTINCT FROM {}").format(
                sql.Identifier(victim.schema, victim.table), column, sql.SQL(value)
            )
            update = sql.SQL("UPDATE {} SET {} = {}").format(
                sql.Identifier(victim.schema, victim.table), column, sql.SQL(value)
            )
            try:
                row = c.execute(changing).fetchone()
                if row is None or not row[0]:
                    continue
                c.execute(update)
            except psycopg.Error:
                continue
        return victim, int(row[0])
    raise _none("no column of a table with a primary key can be spoiled")


def merge(past: Connection, present: Connection, victim: Victim) -> int:
    """The column's values of the copy into the rows of the other one; how many were otherwise."""
    table, column = sql.Identifier(victim.schema, victim.table), sql.Identifier(victim.column)
    columns = sql.SQL(", ").join(map(sql.Identifier, (*victim.key, victim.column)))
    # Writers are held; who brings back is not.
    present.execute("SET default_transaction_read_only = off")
    present.execute("SET session_replication_role = replica")
    with present.transaction():
        present.execute(
            sql.SQL("CREATE TEMP TABLE was ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
                columns, table
            )
        )
        read = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT binary)").format(columns, table)
        with past.cursor().copy(read) as source:
            with present.cursor().copy("COPY was FROM STDIN (FORMAT binary)") as target:
                for data in source:
                    target.write(data)
        same = sql.SQL(" AND ").join(
            sql.SQL("t.{0} = was.{0}").format(sql.Identifier(name)) for name in victim.key
        )
        merging = sql.SQL(
            "UPDATE {0} t SET {1} = was.{1} FROM was WHERE {2} AND t.{1}::text IS DISTINCT FROM was.{1}::text"
        ).format(table, column, same)
        return present.execute(merging).rowcount


def _none(why: str) -> HomeportError:
    return NOTHING_TO_BREAK.error(f"cannot rehearse it: {why}")
