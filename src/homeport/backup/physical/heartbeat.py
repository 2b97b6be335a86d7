"""A row a minute in each cluster: how old is what a recovery would bring back, and a commit to recover to.

Recovery to a moment needs a commit after it; on a database that nobody writes to, the heartbeat is that.
"""

from datetime import datetime

from homeport.database.connect import Connection

KEPT = "2 days"
_TABLE = (
    "CREATE SCHEMA IF NOT EXISTS homeport",
    "CREATE TABLE IF NOT EXISTS homeport.heartbeat ("
    "at timestamptz PRIMARY KEY DEFAULT clock_timestamp(), lsn pg_lsn NOT NULL DEFAULT pg_current_wal_insert_lsn())",
)


def ensure(connection: Connection) -> None:
    """``connection`` is the superuser's, in the database postgres."""
    connection.execute("SET client_min_messages = warning")
    for statement in _TABLE:
        connection.execute(statement)


def beat(connection: Connection) -> datetime:
    """When it was, by the server's clock. A clock that jumped back does not hinder it."""
    row = connection.execute(
        "INSERT INTO homeport.heartbeat DEFAULT VALUES ON CONFLICT DO NOTHING RETURNING at"
    ).fetchone()
    connection.execute("DELETE FROM homeport.heartbeat WHERE at < clock_timestamp() - %s::interval", (KEPT,))
    if row is None:
        return beat(connection)
    at: datetime = row[0]
    return at


def newest(connection: Connection) -> datetime | None:
    """By its place in the log; None where there never was one."""
    there = connection.execute("SELECT to_regclass('homeport.heartbeat') IS NOT NULL").fetchone()
    if there is None or not there[0]:
        return None
    row = connection.execute("SELECT at FROM homeport.heartbeat ORDER BY lsn DESC LIMIT 1").fetchone()
    return row[0] if row is not None else None


def newest_until(connection: Connection, lsn: str) -> datetime | None:
    """The newest that lies before ``lsn``: what a log that ends there would bring back."""
    row = connection.execute(
        "SELECT at FROM homeport.heartbeat WHERE lsn < %s::pg_lsn ORDER BY lsn DESC LIMIT 1", (lsn,)
    ).fetchone()
    return row[0] if row is not None else None
