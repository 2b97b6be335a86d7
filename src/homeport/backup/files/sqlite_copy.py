"""Copies of SQLite databases as they are at one moment, and what is in a copy. No row's content is read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from homeport.backup.files.errors import FULL, WORKING
from homeport.system.fsuser import acting_as

MAGIC = b"SQLite format 3\0"
BESIDE = ("-wal", "-shm", "-journal")
"""What belongs to a database of a moment, beside its file: a copy needs none of it."""
PATIENCE = 30.0
"""Seconds to wait for others that hold it."""
_MOST_PROBLEMS = 20


class NotADatabase(Exception):
    """It begins like a database, and SQLite cannot read it as one."""


UNREADABLE = (NotADatabase, sqlite3.Error)
"""What :func:`copy` and :func:`tables` raise for what is no database."""


def copy(source: Path, target: Path) -> None:
    """Make ``target`` from a database that others may write to. Nothing of the source changes.

    It is opened as whom it belongs to, so that files that SQLite makes beside it are the app's too. Raises
    NotADatabase, ``backup.files_busy``, ``backup.disk_full``, OSError.
    """
    status = source.lstat()
    with closing(sqlite3.connect(target, isolation_level=None)) as into:
        # Before anything is opened as somebody else: the file is then made, and no other is needed.
        into.execute("PRAGMA journal_mode=OFF")
        into.execute("PRAGMA synchronous=OFF")
        target.chmod(0o600)
        with acting_as(status.st_uid, status.st_gid):
            try:
                uri = f"file:{quote(str(source))}?mode=rw"
                with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as from_:
                    from_.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                    from_.backup(into)
            except sqlite3.Error as e:
                raise _meant(source, e) from e


def _meant(source: Path, error: sqlite3.Error) -> Exception:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return WORKING.error(
            f"cannot copy {source}: others hold it for longer than {PATIENCE:g} s",
            hint="end the long transaction of an instance, or try again",
        )
    if code == sqlite3.SQLITE_FULL:
        return FULL.error(f"cannot copy {source}: the disk is full")
    return NotADatabase(str(error))


@contextmanager
def _open(copied: Path) -> Iterator[sqlite3.Connection]:
    """Nothing is written beside it."""
    with closing(sqlite3.connect(f"file:{quote(str(copied))}?immutable=1", uri=True)) as connection:
        yield connection


def tables(copied: Path) -> dict[str, int]:
    """Rows by table; of virtual tables, which may need more than SQLite, only what they keep in real ones.

    Raises sqlite3.Error.
    """
    with _open(copied) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
        ).fetchall()
        return {name: _rows(connection, name) for (name,) in names}


def _rows(connection: sqlite3.Connection, table: str) -> int:
    quoted = table.replace('"', '""')
    (rows,) = connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()
    return int(rows)


def problems(copied: Path) -> tuple[str, ...]:
    """What SQLite's integrity_check finds; () for none."""
    try:
        with _open(copied) as connection:
            found = connection.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})").fetchall()
    except sqlite3.Error as e:
        return (str(e),)
    lines = tuple(line for (text,) in found for line in str(text).splitlines())
    return () if lines == ("ok",) else lines
