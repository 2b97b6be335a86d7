"""Migrations of SQLite, carried out: look, plan, take the first step, look again.

A file is one transaction with its row in the table, foreign keys checked before it is committed: so it is
there as a whole or not at all, whatever ends a run. SQLite lets one connection write at a time, and each step
is planned again by the one that may, so two runs cannot apply a file twice.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from math import inf

from homeport.database.migrations.errors import BLOCKED, CANCELLED, FAILED, TIMED_OUT
from homeport.database.migrations.model import (
    Cancelled,
    Done,
    Goal,
    Migration,
    Note,
    Options,
    Progress,
    Remnant,
    Row,
    Section,
    Seen,
    Statement,
)
from homeport.database.migrations.plan import Observed, Run, plan, to_look_at
from homeport.database.sqlite import table
from homeport.database.sqlite.file import STEPS, SqliteFile, error_code
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.system.fsuser import acting_as


def silent(_: Progress) -> None:
    """Tells nobody."""


def never() -> bool:
    return False


class SqliteMigrator:
    """The migrations of one file. See :class:`homeport.database.migrations.port.Migrator`."""

    def __init__(self, file: SqliteFile, options: Options, clock: Clock) -> None:
        self._file = file
        self._options = options
        self._clock = clock

    def look(self, files: Sequence[Migration]) -> Observed:
        """What there is; a file that is not there yet is not made."""
        with self._file.acting():
            is_there = os.path.lexists(self._file.path)
        if not is_there:
            return _observed(files, ())
        with self._file.connect() as connection:
            return self._observe(connection, files)

    def run(
        self, files: Sequence[Migration], goal: Goal, *, note: Note = silent, cancelled: Cancelled = never
    ) -> tuple[Done, ...]:
        self._file.ensure()
        done: list[Done] = []
        with self._file.connect(self._options.lock_timeout) as connection:
            work = _Work(self, connection, files, goal, note, cancelled)
            while steps := plan(self._observe(connection, files), goal):
                step = steps[0]
                assert isinstance(step, Run)  # no other step comes of what _observed gives
                taken = work.take(step)
                done += [taken] if taken is not None else []
        return tuple(done)

    def _observe(self, connection: sqlite3.Connection, files: Sequence[Migration]) -> Observed:
        with self._file.translating(), self._file.acting():
            return _observed(files, table.rows(connection))


def _observed(files: Sequence[Migration], rows: Sequence[Row]) -> Observed:
    """SQLite has no statement that runs by halves."""
    seen = {(version, direction): Seen(Remnant.ABSENT) for version, direction, _ in to_look_at(files, rows)}
    return Observed(tuple(files), tuple(rows), seen)


class _Work:
    """One run, on one connection."""

    def __init__(
        self,
        migrator: SqliteMigrator,
        connection: sqlite3.Connection,
        files: Sequence[Migration],
        goal: Goal,
        note: Note,
        cancelled: Cancelled,
    ) -> None:
        self._migrator = migrator
        self._file = migrator._file
        self._options = migrator._options
        self._clock = migrator._clock
        self._connection = connection
        self._files = files
        self._goal = goal
        self._note = note
        self._cancelled = cancelled
        self._deadline = inf
        self._stopped = False
        connection.set_progress_handler(self._is_over, STEPS)

    def take(self, step: Run) -> Done | None:
        """None where another run was faster, so that it has to be planned anew."""
        migration, direction = step.migration, step.direction
        section = migration.section(direction)
        assert section is not None
        started = self._clock.monotonic()
        self._note(Progress("started", migration.version, f"{direction.value} {migration.filename}"))
        if section.lone is not None:
            self._statement(migration, section.lone)
        attempts = self._begin(migration)
        try:
            self._own(table.CREATE)
            if not self._is_still_next(step):
                return None
            if section.lone is None:
                self._in_transaction(migration, section)
            seconds = self._clock.monotonic() - started
            with self._file.translating(), self._file.acting():
                table.record(
                    self._connection, self._options, migration, direction, seconds, self._clock.now()
                )
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                with suppress(HomeportError):
                    self._own("ROLLBACK")
        kind = "applied" if direction.value == "up" else "reverted"
        self._note(Progress(kind, migration.version, migration.filename, seconds))
        return Done(migration.version, direction, seconds, attempts)

    def _is_still_next(self, step: Run) -> bool:
        steps = plan(self._migrator._observe(self._connection, self._files), self._goal)
        return bool(steps) and steps[0] == step

    def _begin(self, migration: Migration) -> int:
        """Become the one who writes; returns how often it was tried."""
        deadline = self._clock.monotonic() + self._options.patience
        attempts = 1
        while True:
            try:
                with self._file.acting():
                    self._connection.execute("BEGIN IMMEDIATE")
                return attempts
            except sqlite3.Error as error:
                if error_code(error) != sqlite3.SQLITE_BUSY:
                    raise self._file.translated(error) from error
            if self._cancelled():
                raise _stopped(migration)
            if self._clock.monotonic() >= deadline:
                raise BLOCKED.error(
                    f"cannot apply {migration.filename}: others wrote to the database for all of "
                    f"{self._options.patience:g} s, in {attempts} attempts",
                    hint="end the long transaction of an instance, or try at a quieter time",
                )
            attempts += 1
            self._note(Progress("retry", migration.version, "others write to the database"))

    def _in_transaction(self, migration: Migration, section: Section) -> None:
        broken = self._broken_keys()
        for statement in section.statements:
            self._statement(migration, statement)
        if not self._connection.in_transaction:
            raise FAILED.error(f"cannot apply {migration.filename}: it ended its own transaction")
        now = self._broken_keys()
        if len(now) > len(broken):
            tables = sorted({str(row[0]) for row in set(now) - set(broken)}) or ["the same tables as before"]
            raise FAILED.error(
                f"cannot apply {migration.filename}: rows that it leaves refer to rows that are not there",
                hint="correct the file, then migrate again; nothing of it stayed",
                details=[f"foreign keys of {', '.join(tables)}"],
            )

    def _broken_keys(self) -> list[tuple[object, ...]]:
        return self._own("PRAGMA foreign_key_check")

    def _statement(self, migration: Migration, statement: Statement) -> None:
        if self._cancelled():
            raise _stopped(migration)
        self._note(Progress("statement", migration.version, statement.summary))
        self._deadline = self._clock.monotonic() + self._options.statement_timeout
        self._stopped = False
        try:
            with self._file.acting():
                self._connection.execute(statement.text).fetchall()
        except (sqlite3.Error, ValueError) as error:
            raise self._failed(migration, statement, error) from None
        finally:
            self._deadline = inf

    def _is_over(self) -> int:
        """Asked by SQLite while it works; not 0 stops it. Statements of our own are let end."""
        if self._deadline == inf:
            return 0
        with acting_as(os.geteuid(), os.getegid()):
            self._stopped = self._stopped or self._cancelled()
        return int(self._stopped or self._clock.monotonic() > self._deadline)

    def _failed(self, migration: Migration, statement: Statement, error: Exception) -> HomeportError:
        code = error_code(error)
        if code == sqlite3.SQLITE_INTERRUPT and self._stopped:
            return _stopped(migration)
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
            assert isinstance(error, sqlite3.Error)
            return self._file.translated(error)
        where = f"cannot apply {migration.filename}: line {statement.line}: "
        if code == sqlite3.SQLITE_INTERRUPT:
            return TIMED_OUT.error(
                f"{where}it ran past statement_timeout",
                hint="do less in one statement, or raise [database.NAME] statement_timeout",
                details=[statement.summary],
            )
        said = f"SQLite's error {code}" if statement.is_secret else str(error)
        return FAILED.error(
            f"{where}{said}", hint="correct the file, then migrate again", details=[statement.summary]
        )

    def _own(self, statement: str) -> list[tuple[object, ...]]:
        return self._file.run(self._connection, statement)


def _stopped(migration: Migration) -> HomeportError:
    return CANCELLED.error(f"cannot go on with {migration.filename}: it was stopped; nothing of it stayed")
