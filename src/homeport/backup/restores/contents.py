"""What is in a database, table by table: rows and a digest; and the rows that two of them do not share."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from homeport.backup.physical.manifest import SETTINGS, Table, count
from homeport.backup.restores.model import TableLoss, losses
from homeport.database.connect import Connection

Opening = AbstractContextManager[Connection]
MOST_ROWS = 2_000_000
"""Of a table whose rows are compared one by one."""
BATCH = 5000
_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'homeport') AND n.nspname !~ '^(pg_toast|restored_)'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""
_IN = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname = %(schema)s ORDER BY 1, 2
"""
_KEY = """
SELECT a.attname FROM pg_index i
JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place) ON true
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE i.indisprimary AND i.indrelid = (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s) ORDER BY k.place
"""


def read(opening: Opening, schema: str | None = None) -> dict[str, Table]:
    """Rows and a digest of every table of a database, or of a schema, by ``schema.name``, of one moment."""
    with opening as connection:
        for setting in SETTINGS:
            connection.execute(setting)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        names = connection.execute(_IN if schema else _TABLES, {"schema": schema}).fetchall()
        found = [count(connection, Table("", where, name, 0, "")) for where, name in names]
        connection.execute("COMMIT")
    return {f"{t.schema}.{t.name}": t for t in found}


def both(
    one: Opening, other: Opening, *, schema: str | None = None
) -> tuple[dict[str, Table], dict[str, Table]]:
    """:func:`read` of two databases at the same time."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(read, one, schema), pool.submit(read, other, schema)
        return first.result(), second.result()


def different(one: dict[str, Table], other: dict[str, Table]) -> tuple[str, ...]:
    """In words: what the second lacks or has otherwise."""
    found = []
    for name, table in one.items():
        there = other.get(name)
        if there is None:
            found.append(f"{name} is missing")
        elif there.rows != table.rows:
            found.append(f"{name} has {there.rows} rows instead of {table.rows}")
        elif there.digest != table.digest:
            found.append(f"{name} has other content")
    return (*found, *(f"{name} is there besides" for name in other if name not in one))


def lost(
    now: dict[str, Table], then: dict[str, Table], present: Connection, past: Connection
) -> tuple[TableLoss, ...]:
    """What a return would change, table by table; row by row where there is a primary key and they are not too many."""
    differ = frozenset(n for n in now.keys() & then.keys() if now[n].digest != then[n].digest)
    found = losses({n: t.rows for n, t in now.items()}, {n: t.rows for n, t in then.items()}, differ)
    return tuple(_by_row(loss, now, then, present, past) for loss in found)


def _by_row(
    loss: TableLoss, now: dict[str, Table], then: dict[str, Table], present: Connection, past: Connection
) -> TableLoss:
    if loss.now < 0 or loss.then < 0:
        return replace(loss, lost=max(loss.now, 0), back=max(loss.then, 0), changed=0)
    table = now[loss.table]
    keys = [_key(c, table) for c in (present, past)]
    if not keys[0] or not keys[1]:
        return replace(loss, why="it has no primary key")
    if keys[0] != keys[1]:
        return replace(loss, why="it has another primary key than then")
    if max(loss.now, loss.then) > MOST_ROWS:
        return replace(loss, why=f"it has more than {MOST_ROWS:,} rows")
    gone, back, changed = _merge(_rows(present, table, keys[0]), _rows(past, then[loss.table], keys[0]))
    return replace(loss, lost=gone, back=back, changed=changed)


def _key(connection: Connection, table: Table) -> tuple[str, ...]:
    return tuple(name for (name,) in connection.execute(_KEY, (table.schema, table.name)).fetchall())


def _rows(connection: Connection, table: Table, key: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """(key, hash of the row), in the order of the keys' bytes."""
    from psycopg import sql

    for setting in SETTINGS:
        connection.execute(setting)
    columns = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(k)) for k in key)
    query = sql.SQL(
        'SELECT ROW({})::text COLLATE "C", hashtextextended(t::text, 0) FROM {} t ORDER BY 1'
    ).format(columns, sql.Identifier(table.schema, table.name))
    with connection.transaction(), connection.cursor("rows") as cursor:
        cursor.itersize = BATCH
        cursor.execute(query)
        for row in cursor:
            yield row[0], row[1]


def _merge(present: Iterator[tuple[str, int]], past: Iterator[tuple[str, int]]) -> tuple[int, int, int]:
    """(only in the first, only in the second, in both and not the same)"""
    gone = back = changed = 0
    one: Any = next(present, None)
    other: Any = next(past, None)
    while one is not None or other is not None:
        # Text in Python is ordered by code points, as "C" orders UTF-8.
        if other is None or (one is not None and one[0] < other[0]):
            gone += 1
            one = next(present, None)
        elif one is None or other[0] < one[0]:
            back += 1
            other = next(past, None)
        else:
            changed += one[1] != other[1]
            one, other = next(present, None), next(past, None)
    return gone, back, changed
