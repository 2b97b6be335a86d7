"""Tables brought back into a schema beside those that serve: how they differ, and how rows come over by choice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from homeport.backup.restores.errors import CANNOT_MERGE, NO_TABLE
from homeport.backup.restores.model import Place
from homeport.database.connect import Connection, first_line

MARK = "tables of a restore"
LOCKING = "5s"
_TABLE = """
SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|restored_)' AND n.nspname NOT IN ('information_schema', 'homeport')
"""
_COLUMNS = """
SELECT a.attname, a.attgenerated <> '' FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_KEY = """
SELECT a.attname FROM pg_index i
JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place) ON true
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisprimary AND n.nspname = %s AND c.relname = %s ORDER BY k.place
"""
_DEFINITIONS = """
SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid)),
n.nspname, c.relname, p.nspname, f.relname
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace p ON p.oid = f.relnamespace WHERE k.contype = 'f'
UNION ALL
SELECT pg_get_triggerdef(t.oid), n.nspname, c.relname, n.nspname, c.relname
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal
"""
_PARENTS = """
SELECT n.nspname, c.relname, p.nspname, f.relname
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace p ON p.oid = f.relnamespace WHERE k.contype = 'f'
"""
_TRIGGERS = """
SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND NOT t.tgisinternal AND t.tgenabled = 'O'
"""


def resolve(past: Connection, wanted: Sequence[str], side: str) -> list[tuple[str, str]]:
    """(schema, name) of each that is asked for, in the copy. Raises ``restore.no_table``.

    ``side``: what a call that was cut off has moved there already counts as where it came from.
    """
    there = past.execute(_TABLE).fetchall()
    moved = _note(past, side).get("tables", [])
    found: list[tuple[str, str]] = []
    for text in wanted:
        schema, _, name = text.rpartition(".")
        hits = [(s, n, k) for s, n, k in there if n == name and schema in ("", s)]
        hits += [(s, n, "r") for s, n in moved if n == name and schema in ("", s)]
        if not schema and len(hits) > 1:
            hits = [h for h in hits if h[0] == "public"] or hits
        if not hits:
            names = ", ".join(sorted(n for _, n, _ in there)[:12])
            raise NO_TABLE.error(
                f"cannot bring back {text[:100]}: there was no such table", hint=f"there were: {names}"
            )
        if len(hits) > 1:
            schemas = ", ".join(f"{s}.{n}" for s, n, _ in hits)
            raise NO_TABLE.error(f"cannot tell which {text} is meant", hint=f"one of {schemas}")
        if hits[0][2] == "p":
            raise NO_TABLE.error(
                f"cannot bring back {text} alone: it is partitioned",
                hint="name its partitions, or the whole database",
            )
        found.append((hits[0][0], hits[0][1]))
    names_ = [n for _, n in found]
    twice = next((n for n in names_ if names_.count(n) > 1), None)
    if twice:
        raise NO_TABLE.error(
            f"cannot bring back two tables named {twice} at once", hint="one after the other"
        )
    return found


Definition = dict[str, Any]
"""{"sql", "tables": [[schema, name], …]}: a foreign key or a trigger, and which tables it is about."""


def move(past: Connection, owner: str, tables: Sequence[tuple[str, str]], side: str) -> list[Definition]:
    """In the copy, which is ours: the tables into the schema; returns what a table of them needs to be whole where it
    does not exist any more."""
    if _note(past, side):
        found: list[Definition] = _note(past, side)["definitions"]
        return found
    with past.transaction():
        past.execute("SET LOCAL search_path = pg_catalog")
        definitions: list[Definition] = []
        for text, *names in past.execute(_DEFINITIONS).fetchall():
            about = [(names[0], names[1]), (names[2], names[3])]
            if any(t in tables for t in about):
                definitions.append({"sql": text, "tables": [list(t) for t in dict.fromkeys(about)]})
        past.execute(
            sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(side), sql.Identifier(owner))
        )
        for schema, name in tables:
            past.execute(
                sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(
                    sql.Identifier(schema, name), sql.Identifier(side)
                )
            )
        note(past, side, {"tables": [list(t) for t in tables], "definitions": definitions})
    return definitions


def note(connection: Connection, side: str, document: Mapping[str, Any]) -> None:
    text = json.dumps({"homeport": MARK, **document})
    connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(side), sql.Literal(text)))


def note_of(
    place: Place, tables: Sequence[tuple[str, str]], definitions: Sequence[Definition]
) -> dict[str, Any]:
    return {
        "app": place.app,
        "environment": place.environment,
        "database": place.name,
        "run": place.run,
        "tables": [list(t) for t in tables],
        "definitions": list(definitions),
    }


def _note(connection: Connection, side: str) -> dict[str, Any]:
    row = connection.execute(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s", (side,)
    ).fetchone()
    try:
        found = json.loads(row[0]) if row is not None and row[0] else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("homeport") == MARK else {}


def kept(connection: Connection) -> list[dict[str, Any]]:
    """Schemas with tables that were brought back, in a database that serves."""
    names = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname ~ '^restored_' ORDER BY 1"
    ).fetchall()
    found = []
    for (name,) in names:
        document = _note(connection, name)
        if "run" in document:
            size = _one(
                connection,
                "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
                "WHERE relkind = 'r' AND relnamespace = %s::regnamespace",
                sql.Identifier(name).as_string(connection),
            )
            found.append({**document, "name": name, "bytes": size})
    return found


def drop(connection: Connection, side: str) -> None:
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(side)))


def drop_unfinished(connection: Connection, side: str) -> None:
    """What a call that was cut off has filled in part: it has the copy's note, or none."""
    if "run" not in _note(connection, side):
        drop(connection, side)


# Comparing


def compare(connection: Connection, side: str) -> list[dict[str, Any]]:
    """Of each table: rows that are missing in what serves, changed in it, or there besides."""
    return [_compare(connection, side, schema, name) for schema, name in _note(connection, side)["tables"]]


def _compare(connection: Connection, side: str, schema: str, name: str) -> dict[str, Any]:
    mine, live = sql.Identifier(side, name), sql.Identifier(schema, name)
    found: dict[str, Any] = {"table": f"{schema}.{name}", "then": _count(connection, mine)}
    if not _exists(connection, schema, name):
        return found | {"now": None, "missing": found["then"], "changed": 0, "extra": 0, "key": []}
    key = _key(connection, schema, name)
    found |= {"now": _count(connection, live), "key": key}
    why = _not_told_apart(connection, side, schema, name)
    if why:
        return found | {"missing": None, "changed": None, "extra": None, "why": why}
    common = _common(connection, side, schema, name)
    row = connection.execute(
        sql.SQL(
            "SELECT count(*) FILTER (WHERE l.{k} IS NULL), count(*) FILTER (WHERE s.{k} IS NULL), "
            "count(*) FILTER (WHERE s.{k} IS NOT NULL AND l.{k} IS NOT NULL AND {differs}) "
            "FROM {mine} s FULL JOIN {live} l ON {same}"
        ).format(k=sql.Identifier(key[0]), differs=_differs(common), mine=mine, live=live, same=_same(key))
    ).fetchone()
    assert row is not None
    return found | {"missing": row[0], "extra": row[1], "changed": row[2]}


# Merging


def merge(connection: Connection, side: str, *, missing: bool, changed: bool) -> list[dict[str, Any]]:
    """Bring rows over, all or nothing; a table that is gone comes back as a whole. The app's triggers do not fire.

    One whose rows cannot be told apart is left as it is, and has ``left``: why. Raises ``restore.cannot_merge``.
    """
    tables = [(s, n) for s, n in _note(connection, side)["tables"]]
    done = []
    try:
        with connection.transaction():
            connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCKING)))
            connection.execute("SET LOCAL statement_timeout = 0")
            for schema, name in _in_order(connection, tables):
                done.append(_merge(connection, side, schema, name, missing=missing, changed=changed))
            if done and all(d["left"] for d in done):
                raise CANNOT_MERGE.error(
                    f"cannot tell which rows of {done[0]['table']} are missing: {done[0]['left']}",
                    hint=f"bring them over by hand from schema {side}: homeport db shell",
                )
            gone = [d for d in done if d["created"]]
            problems = _complete(connection, side, gone) if gone else []
    except psycopg.Error as e:
        raise CANNOT_MERGE.error(
            f"cannot bring rows over from {side}: {first_line(e)}",
            hint="nothing was changed; try again, or bring them over by hand: homeport db shell",
        ) from e
    return [d | {"problems": problems if d["created"] else []} for d in done]


def _merge(
    connection: Connection, side: str, schema: str, name: str, *, missing: bool, changed: bool
) -> dict[str, Any]:
    mine, live = sql.Identifier(side, name), sql.Identifier(schema, name)
    done: dict[str, Any] = {
        "table": f"{schema}.{name}",
        "inserted": 0,
        "updated": 0,
        "created": False,
        "left": "",
    }
    if not _exists(connection, schema, name):
        if not missing:
            return done
        rows = _count(connection, mine)
        connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(mine, sql.Identifier(schema)))
        return done | {"inserted": rows, "created": True}
    why = _not_told_apart(connection, side, schema, name)
    if why:
        return done | {"left": why}
    key = _key(connection, schema, name)
    triggers = [t for (t,) in connection.execute(_TRIGGERS, (schema, name)).fetchall()]
    for trigger in triggers:
        connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(live, sql.Identifier(trigger)))
    common = _common(connection, side, schema, name)
    if changed:
        others = [c for c in common if c not in key]
        if others:
            sets = sql.SQL(", ").join(sql.SQL("{c} = s.{c}").format(c=sql.Identifier(c)) for c in others)
            done["updated"] = connection.execute(
                sql.SQL("UPDATE {} l SET {} FROM {} s WHERE {} AND {}").format(
                    live, sets, mine, _same(key), _differs(others)
                )
            ).rowcount
    if missing:
        columns = sql.SQL(", ").join(map(sql.Identifier, common))
        done["inserted"] = connection.execute(
            sql.SQL(
                "INSERT INTO {live} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {mine} s "
                "WHERE NOT EXISTS (SELECT FROM {live} l WHERE {same})"
            ).format(live=live, mine=mine, columns=columns, same=_same(key))
        ).rowcount
        _advance(connection, schema, name, common)
    for trigger in triggers:
        connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER {}").format(live, sql.Identifier(trigger)))
    return done


def _advance(connection: Connection, schema: str, name: str, columns: Sequence[str]) -> None:
    """Sequences give no number that a row which came over has."""
    live = sql.Identifier(schema, name)
    for column in columns:
        sequence = _one(
            connection, "SELECT pg_get_serial_sequence(%s, %s)", live.as_string(connection), column
        )
        if sequence is not None:
            connection.execute(
                sql.SQL(
                    "SELECT setval({q}, m) FROM (SELECT max({c}) AS m FROM {t}) x, {s} WHERE m > last_value"
                ).format(q=sql.Literal(sequence), c=sql.Identifier(column), t=live, s=sql.SQL(sequence))
            )


def _complete(connection: Connection, side: str, gone: Sequence[Mapping[str, Any]]) -> list[str]:
    """Foreign keys and triggers of tables that came back as a whole; what does not hold any more is told."""
    problems = []
    for definition in _note(connection, side)["definitions"]:
        about = [f"{schema}.{name}" for schema, name in definition["tables"]]
        if not any(g["table"] in about for g in gone):
            continue
        try:
            with connection.transaction():
                connection.execute(definition["sql"].encode())
        except psycopg.Error as e:
            problems.append(f"{definition['sql']}: {first_line(e)}")
    return problems


def _in_order(connection: Connection, tables: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those that are referred to first."""
    pairs = [((a, b), (c, d)) for a, b, c, d in connection.execute(_PARENTS).fetchall()]
    parents = {t: {p for c, p in pairs if c == t and p in tables and p != t} for t in tables}
    found: list[tuple[str, str]] = []
    left = list(tables)
    while left:
        free = [t for t in left if parents[t] <= set(found)] or left[:1]
        found += free
        left = [t for t in left if t not in free]
    return found


def _exists(connection: Connection, schema: str, name: str) -> bool:
    return bool(
        _one(
            connection,
            "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND tablename = %s",
            schema,
            name,
        )
    )


def _key(connection: Connection, schema: str, name: str) -> list[str]:
    return [column for (column,) in connection.execute(_KEY, (schema, name)).fetchall()]


def _not_told_apart(connection: Connection, side: str, schema: str, name: str) -> str:
    """Why rows of now and of then cannot be told apart; "" where they can."""
    now, then = _key(connection, schema, name), _key(connection, side, name)
    if now and now == then:
        return ""
    return "it has another primary key than then" if now and then else "it has no primary key"


def _common(connection: Connection, side: str, schema: str, name: str) -> list[str]:
    """Columns of both, without what the server computes."""
    then = [c for c, generated in connection.execute(_COLUMNS, (side, name)).fetchall() if not generated]
    now = {c for c, generated in connection.execute(_COLUMNS, (schema, name)).fetchall() if not generated}
    return [c for c in then if c in now]


def _same(key: Sequence[str]) -> sql.Composable:
    return sql.SQL(" AND ").join(sql.SQL("s.{c} = l.{c}").format(c=sql.Identifier(c)) for c in key)


def _differs(columns: Sequence[str]) -> sql.Composable:
    """By their text: not every type can be compared."""
    parts = [sql.SQL("s.{c}::text IS DISTINCT FROM l.{c}::text").format(c=sql.Identifier(c)) for c in columns]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(parts))


def _count(connection: Connection, table: sql.Identifier) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
    assert row is not None
    return int(row[0])


def _one(connection: Connection, query: str, *values: Any) -> Any:
    row = connection.execute(query.encode(), values).fetchone()
    assert row is not None
    return row[0]
