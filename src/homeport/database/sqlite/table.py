"""The table ``homeport_migrations`` in SQLite: the same columns; times are ISO 8601 in UTC."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from homeport.database.migrations.model import TABLE, Direction, Migration, Options, Row

CREATE = f"""
create table if not exists {TABLE} (
    version text primary key,
    description text not null,
    filename text not null,
    checksum text not null,
    source text not null,
    applied_at text,
    duration real,
    applied_by text not null,
    release text not null,
    rolled_back_at text,
    running text check (running in ('up', 'down')),
    started_at text,
    check (applied_at is not null or running is not null)
) strict
"""
COLUMNS = (
    "version, description, filename, checksum, source, applied_at, duration, applied_by, release, "
    "rolled_back_at, running, started_at"
)


def rows(connection: sqlite3.Connection) -> tuple[Row, ...]:
    """Every row by file name; () when there is no table."""
    query = "select 1 from main.sqlite_schema where type = 'table' and name = ?"
    if not connection.execute(query, (TABLE,)).fetchall():
        return ()
    found = connection.execute(f"select {COLUMNS} from {TABLE} order by filename").fetchall()
    return tuple(
        Row(
            version, description, filename, checksum, source, _time(applied_at), duration, by, release,
            _time(rolled_back_at), Direction(running) if running else None, _time(started_at),
        )
        for version, description, filename, checksum, source, applied_at, duration, by, release,
            rolled_back_at, running, started_at in found
    )  # fmt: skip


def record(
    connection: sqlite3.Connection,
    options: Options,
    migration: Migration,
    direction: Direction,
    seconds: float,
    now: datetime,
) -> None:
    """It was applied, or taken back."""
    if direction is Direction.DOWN:
        connection.execute(
            f"update {TABLE} set rolled_back_at = ?, running = null, started_at = null where version = ?",
            (now.isoformat(), migration.version),
        )
        return
    connection.execute(
        f"insert or replace into {TABLE} ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, null, null, null)",
        (
            migration.version, migration.description, migration.filename, migration.checksum, migration.source,
            now.isoformat(), seconds, options.by, options.release,
        ),
    )  # fmt: skip


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
