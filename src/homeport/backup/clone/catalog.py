"""Reads of a copy what masks have to know: columns, what refers to what, a sample of values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from psycopg import sql

from homeport.backup.clone.model import JSON, Catalog, Column, Key
from homeport.backup.clone.suspects import Suspect, by_name, by_values, is_told_by_values
from homeport.database.connect import Connection
from homeport.database.migrations.model import TABLE

SAMPLE = 1000
"""Values that are looked at of a column; of e-mail addresses all of them are."""
LONGEST = 20_000
"""Characters of a value that are looked at."""
OURS = "('pg_catalog', 'information_schema', 'homeport')"
SIDE = "restored_[0-9]{8}t[0-9]{6}"
"""Schemas with tables that were brought back beside: they are not cloned."""
SIDE_PATTERN = "restored_*t*"
_MINE = f"""n.nspname NOT IN {OURS} AND n.nspname !~ '^(pg_|{SIDE}$)' AND NOT EXISTS (SELECT FROM pg_depend d
WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"""
_COLUMNS = f"""
WITH RECURSIVE bases AS (
  SELECT oid AS whole, typname, typtype, typbasetype, typtypmod, typnotnull FROM pg_type
  UNION ALL
  SELECT b.whole, t.typname, t.typtype, t.typbasetype,
    CASE WHEN b.typtypmod <> -1 THEN b.typtypmod ELSE t.typtypmod END, b.typnotnull OR t.typnotnull
  FROM bases b JOIN pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd'
)
SELECT n.nspname, c.relname, a.attname, b.typname, format_type(a.atttypid, a.atttypmod),
  CASE WHEN a.atttypmod <> -1 THEN a.atttypmod ELSE b.typtypmod END, a.attnotnull OR b.typnotnull,
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND (
    a.attnum = ANY (i.indkey::int2[]) OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
      AND d.objid = i.indexrelid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
      AND d.refobjsubid = a.attnum))),
  a.attgenerated <> '', pg_get_userbyid(c.relowner)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount = 0
JOIN bases b ON b.whole = a.atttypid AND b.typtype <> 'd'
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition AND {_MINE}
AND c.relname <> '{TABLE}' -- whose files are in everybody's repository
ORDER BY n.nspname, c.relname, a.attnum
"""
_REFERENCES = """
SELECT n.nspname, c.relname, a.attname, m.nspname, f.relname, b.attname
FROM pg_constraint k CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS u (one, other)
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.one
JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace m ON m.oid = f.relnamespace
JOIN pg_attribute b ON b.attrelid = f.oid AND b.attnum = u.other
WHERE k.contype = 'f' AND k.conparentid = 0
"""
_INSIDE = """
SELECT n.nspname, c.relname, m.nspname, p.relname, c.relispartition FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace m ON m.oid = p.relnamespace WHERE c.relkind IN ('r', 'p')
"""


def read(connection: Connection) -> Catalog:
    columns = tuple(
        Column(
            schema, table, name, type_, declared, typmod - 4 if type_ in ("varchar", "bpchar") and typmod > 4 else None,
            not_null, unique, generated, owner,
        )
        for schema, table, name, type_, declared, typmod, not_null, unique, generated, owner in connection.execute(
            _COLUMNS
        ).fetchall()
    )  # fmt: skip
    references = tuple(
        ((a, b, c), (d, e, f)) for a, b, c, d, e, f in connection.execute(_REFERENCES).fetchall()
    )
    found = connection.execute(_INSIDE).fetchall()
    parents = {(a, b): (c, d) for a, b, c, d, _ in found}
    inherited = frozenset((c, d) for _, _, c, d, is_partition in found if not is_partition)
    inside = {}
    for child in parents:
        top = child
        while top in parents:
            top = parents[top]
        inside[child] = top
    return Catalog(columns, references, inside, inherited)


def suspects(connection: Connection, catalog: Catalog, named: Iterable[Key]) -> tuple[Suspect, ...]:
    """Columns that no mask names and that look as if they told of people."""
    known = frozenset(named)
    masked_tables = {(schema, table) for schema, table, _ in known}
    found = []
    counts: dict[tuple[str, str], int] = {}
    for column in catalog.columns:
        if column.key in known or column.generated:
            continue
        suspect = by_name(column)
        if suspect is None and column.type == "tsvector" and (column.schema, column.table) in masked_tables:
            suspect = Suspect(column, "text", "may hold words of what is masked")
        if suspect is None and is_told_by_values(column):
            suspect = by_values(column, _values(connection, column, counts))
        if suspect is not None:
            found.append(suspect)
    return tuple(found)


def _values(connection: Connection, column: Column, counts: dict[tuple[str, str], int]) -> list[Any]:
    table, name = sql.Identifier(column.schema, column.table), sql.Identifier(column.name)
    key = (column.schema, column.table)
    if key not in counts:
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
        counts[key] = int(row[0]) if row else 0
    share = min(100.0, 150.0 * SAMPLE / max(1, counts[key]))
    parts = {
        "table": table,
        "name": name,
        "share": sql.Literal(share),
        "some": sql.Literal(SAMPLE),
        "longest": sql.Literal(LONGEST),
    }
    texts: list[str] = []
    for query in (
        "SELECT left({name}::text, {longest}) FROM {table} TABLESAMPLE BERNOULLI ({share}) WHERE {name} IS NOT NULL "
        "LIMIT {some}",
        "SELECT left({name}::text, {longest}) FROM {table} WHERE {name}::text LIKE '%@%' LIMIT {some}",
    ):
        texts += [t for (t,) in connection.execute(sql.SQL(query).format(**parts)).fetchall()]
    if not texts and counts[key]:
        query = "SELECT left({name}::text, {longest}) FROM {table} WHERE {name} IS NOT NULL LIMIT {some}"
        texts = [t for (t,) in connection.execute(sql.SQL(query).format(**parts)).fetchall()]
    return [_document(t) for t in texts] if column.type in JSON else list(texts)


def _document(text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)
    return text  # cut off: looked at as a text


def extensions(connection: Connection) -> list[tuple[str, str]]:
    """(name, schema), without those that Homeport itself has there."""
    return [
        (name, schema)
        for name, schema in connection.execute(
            "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
            f"WHERE n.nspname NOT IN {OURS} AND e.extname <> 'amcheck' ORDER BY e.oid"
        ).fetchall()
    ]


def migrations(connection: Connection) -> set[str]:
    """Versions that a database says it has."""
    found: set[str] = set()
    schemas = connection.execute(
        "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.relname = %s AND c.relkind = 'r' AND n.nspname !~ '^{SIDE}$'",
        (TABLE,),
    ).fetchall()
    for (schema,) in schemas:
        query = sql.SQL("SELECT to_jsonb(m) ->> 'version' FROM {} m").format(sql.Identifier(schema, TABLE))
        found.update(version for (version,) in connection.execute(query).fetchall() if version)
    return found
