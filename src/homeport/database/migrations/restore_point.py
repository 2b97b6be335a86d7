"""A named moment before a migration, to which a physical backup can return."""

from __future__ import annotations

from dataclasses import dataclass

from homeport.database.migrations.errors import UNSUITABLE
from homeport.database.migrations.model import Options
from homeport.database.migrations.session import Target, connect

LONGEST = 63
"""Bytes of a restore point's name."""


@dataclass(frozen=True, slots=True)
class RestorePoint:
    name: str
    lsn: str
    """As PostgreSQL writes it, such as ``0/1A2B3C8``."""
    named: bool
    """Whether the write-ahead log holds the name; without that right only the place is known."""


def restore_point(target: Target, name: str) -> RestorePoint:
    """Write a named restore point to the write-ahead log.

    A role that may not, and a server with wal_level minimal, give the place alone. Raises
    ``database.migration_server_unsuitable`` where not even that is told.
    """
    import psycopg

    name = name.encode()[:LONGEST].decode("utf-8", "ignore")
    with connect(target, Options()) as conn:
        try:
            row = conn.execute("select pg_create_restore_point(%s)::text", (name,)).fetchone()
            named = True
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState):
            row, named = None, False
        try:
            row = row or conn.execute("select pg_current_wal_insert_lsn()::text").fetchone()
        except psycopg.Error as e:
            raise UNSUITABLE.error(
                f"cannot tell where {target.place} stands in its log: {e.diag.message_primary or type(e).__name__}"
            ) from None
    assert row is not None
    return RestorePoint(name, row[0], named)
