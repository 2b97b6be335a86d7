"""Masks, and the target's roles, applied to a copy: in one transaction, so that a kill leaves all of it or nothing."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import groupby

import psycopg
from psycopg import sql

from homeport.backup import masking
from homeport.backup.clone.catalog import OURS
from homeport.backup.clone.errors import MASK_FAILED
from homeport.backup.clone.model import Masked
from homeport.database.connect import Connection
from homeport.database.model import SUPERUSER, Provisioned

_SETTINGS = (
    # No trigger and no foreign key says anything to it.
    "SET LOCAL session_replication_role = replica",
    # Rows that a policy hides are an error, not left as they are.
    "SET LOCAL row_security = off",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL standard_conforming_strings = on",
    "SET LOCAL log_min_duration_statement = -1",
    "SET LOCAL log_statement = 'none'",
    "SET LOCAL log_min_error_statement = 'panic'",
)
_TRIGGERS = """
SELECT n.nspname, c.relname, t.tgname, t.tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')
"""
_FORCED = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relforcerowsecurity AND n.nspname NOT IN {OURS}
"""
SUFFIXES = ("owner", "app", "a", "b", "migrate")
"""Of roles that every provisioned database has."""


def apply(connection: Connection, masks: Sequence[Masked], columns: dict[tuple[str, str], list[str]]) -> int:
    """Returns how many rows were masked. ``columns``: by (schema, table), those that are not generated.

    Expressions of the app's own (checks, indexes, generated columns) are computed by a table's owner, not by the
    superuser. Raises ``backup.mask_failed``.
    """
    rows = 0
    for statement in _SETTINGS:
        connection.execute(statement)
    connection.execute("SELECT set_config('homeport.key', %s, true)", (secrets.token_hex(32),))
    for function in masking.FUNCTIONS:
        connection.execute(function.encode())
    always = connection.execute(_TRIGGERS).fetchall()
    forced = connection.execute(_FORCED).fetchall()
    for schema, table, trigger, _ in always:
        _alter(connection, schema, table, "DISABLE TRIGGER {}", trigger)
    for schema, table in forced:
        _alter(connection, schema, table, "NO FORCE ROW LEVEL SECURITY")
    for (schema, table), mine in groupby(masks, key=lambda m: (m.column.schema, m.column.table)):
        rows += _one(connection, tuple(mine), columns[schema, table])
    for schema, table in forced:
        _alter(connection, schema, table, "FORCE ROW LEVEL SECURITY")
    for schema, table, trigger, enabled in always:
        how = "ENABLE ALWAYS TRIGGER {}" if enabled == "A" else "ENABLE REPLICA TRIGGER {}"
        _alter(connection, schema, table, how, trigger)
    return rows


def _alter(connection: Connection, schema: str, table: str, what: str, name: str = "") -> None:
    text = sql.SQL(what).format(*([sql.Identifier(name)] if name else []))
    connection.execute(sql.SQL("ALTER TABLE {} {}").format(sql.Identifier(schema, table), text))


def _one(connection: Connection, masks: tuple[Masked, ...], columns: Sequence[str]) -> int:
    column = masks[0].column
    try:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(column.owner)))
        if any(m.moves for m in masks):
            done = [connection.execute(s) for s in masking.replacement(masks, columns, "homeport_masked")]
            count = int(done[1].rowcount)
        else:
            count = int(connection.execute(masking.update(masks)).rowcount)
        connection.execute("SET LOCAL ROLE NONE")
    except psycopg.Error as e:
        names = ", ".join(f"{column.table}.{m.column.name}" for m in masks)
        raise MASK_FAILED.error(
            f"cannot mask {names}: {_why(e)}",
            hint="another rule fits better, or null, or keep; homeport.toml, [backup.mask]",
        ) from None
    return count


def _why(error: psycopg.Error) -> str:
    """Without a value: what the server says in full may hold one."""
    what = {
        "23514": "a check refuses the masked value",
        "23505": "two rows would be the same",
        "23502": "it cannot be null",
        "23P01": "two rows would exclude each other",
        "22001": "the masked value is too long",
        "42501": "its owner may not change it",
    }.get(error.diag.sqlstate or "", f"the server refuses it ({error.diag.sqlstate})")
    return f"{what} ({error.diag.constraint_name})" if error.diag.constraint_name else what


def give_roles(connection: Connection, source: Provisioned, target: Provisioned) -> None:
    """What belongs to the source's roles belongs to those of the target, by their names: a dump tells of names.

    What belongs to others, or is granted to them, becomes the owner's.
    """
    row = connection.execute(
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    if row is not None and row[0] != target.owner:
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
        for suffix in SUFFIXES:
            before, after = f"{source.database}_{suffix}", f"{target.database}_{suffix}"
            if after in known:
                _rename(connection, after, f"homeport_was_{secrets.token_hex(8)}")
            if before in known:
                _rename(connection, before, after)
    mine = [f"{target.database}_{suffix}" for suffix in SUFFIXES]
    others = connection.execute(
        "SELECT DISTINCT r.rolname FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid "
        "WHERE d.refclassid = 'pg_authid'::regclass AND r.rolname <> ALL (%s) AND r.rolname !~ '^pg_' "
        "AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        ([*mine, SUPERUSER],),
    ).fetchall()
    for (role,) in others:
        for statement in ("REASSIGN OWNED BY {} TO {}", "DROP OWNED BY {}"):
            parts = (role, target.owner)[: statement.count("{}")]
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, parts)))


def _rename(connection: Connection, before: str, after: str) -> None:
    connection.execute(
        sql.SQL("ALTER ROLE {} RENAME TO {}").format(sql.Identifier(before), sql.Identifier(after))
    )
