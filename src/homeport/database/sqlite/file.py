"""The file of a SQLite database: made, switched to WAL mode, checked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from homeport.database.migrations.errors import NO_SPACE
from homeport.database.sqlite.errors import BUSY, UNUSABLE
from homeport.database.sqlite.model import Checked
from homeport.kernel.errors import HomeportError
from homeport.system.fsuser import acting_as

PATIENCE = 10.0
"""Seconds to wait for others that write."""
STEPS = 20_000
"""Of SQLite's virtual machine, between two looks at whether to go on: some milliseconds."""
_MOST_PROBLEMS = 20


class SqliteFile:
    """One database. It is touched with the rights of whom its storage directory belongs to, so that an app
    that runs as another user than we can write what we make, and we write nothing that it could not."""

    def __init__(self, storage: Path, file: str) -> None:
        self.path = storage / file
        self._storage = storage

    @property
    def url(self) -> str:
        """``sqlite:////var/lib/homeport/…/shop.db``"""
        return f"sqlite:///{quote(str(self.path.absolute()))}"

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """As the owner of the storage directory. Raises ``database.sqlite_unusable``."""
        try:
            # Not through a link: the directory around it is ours, what is in it is the app's.
            status = os.lstat(self._storage)
            with acting_as(status.st_uid, status.st_gid):
                yield
        except OSError as error:
            raise self.unusable(error.strerror or str(error)) from error

    def ensure(self) -> Checked:
        """Have it there, in WAL mode. Raises ``database.sqlite_unusable``, ``…_busy``, ``migration_no_space``."""
        with self.acting():
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.connect() as connection:
            self.run(connection, "PRAGMA user_version")
        return Checked(self._bytes())

    def check(self, *, stop: Callable[[], bool] = lambda: False) -> Checked:
        """What SQLite's quick_check finds. Raises as :meth:`ensure`; ``stop`` is asked now and then."""
        with self.connect() as connection:
            connection.set_progress_handler(lambda: int(stop()), STEPS)
            try:
                with self.acting():
                    rows = connection.execute(f"PRAGMA quick_check({_MOST_PROBLEMS})").fetchall()
            except sqlite3.Error as error:
                if error_code(error) != sqlite3.SQLITE_CORRUPT:
                    raise self.translated(error) from error
                rows = [(str(error),)]
        found = tuple(line for (text,) in rows for line in str(text).splitlines())
        return Checked(self._bytes(), () if found == ("ok",) else found)

    @contextlib.contextmanager
    def connect(self, timeout: float = PATIENCE) -> Iterator[sqlite3.Connection]:
        """A connection that begins no transaction by itself, to a database in WAL mode."""
        with self.translating(), self.acting():
            connection = sqlite3.connect(self.path, timeout=timeout, isolation_level=None)
        try:
            [(mode,)] = self.run(connection, "PRAGMA journal_mode=WAL")
            if mode != "wal":
                raise self.unusable(
                    f"it stays in the mode {mode}, in which readers and writers wait for each other",
                    "a directory on a network cannot hold a database in WAL mode",
                )
            yield connection
        finally:
            with self.acting():
                connection.close()

    def run(self, connection: sqlite3.Connection, statement: str) -> list[tuple[object, ...]]:
        """One statement of our own. Raises as :meth:`ensure`."""
        with self.translating(), self.acting():
            return connection.execute(statement).fetchall()

    @contextlib.contextmanager
    def translating(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.translated(error) from error

    def translated(self, error: sqlite3.Error) -> HomeportError:
        """SQLite's error as one for people; it names no values."""
        code = error_code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return BUSY.error(
                f"cannot use the database {self.path}: others hold it for longer than {PATIENCE:g} s",
                hint="end the long transaction of an instance, or try again",
            )
        if code == sqlite3.SQLITE_FULL:
            return NO_SPACE.error(
                f"cannot write the database {self.path}: the disk is full", hint="free space, then try again"
            )
        return self.unusable(str(error))

    def unusable(self, why: str, hint: str = "") -> HomeportError:
        return UNUSABLE.error(f"cannot use the database {self.path}: {why}", hint=hint)

    def _bytes(self) -> int:
        total = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                total += os.lstat(f"{self.path}{suffix}").st_size
        return total


def error_code(error: Exception) -> int:
    """SQLite's primary result code; 0 where it has none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
