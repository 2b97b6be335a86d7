"""Migrations of PostgreSQL, carried out: look, plan, take the first step, look again.

Whatever ends a run, also ``kill -9`` of it or of the server: a file in a transaction is there with its row or
not at all; a lone statement has a row that says that it runs, and the next run finds out how far it came.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from homeport.database.migrations import failures
from homeport.database.migrations.errors import FAILED, UNFINISHED
from homeport.database.migrations.model import (
    Cancelled,
    Direction,
    Done,
    Goal,
    Lone,
    Migration,
    Note,
    Options,
    Progress,
    Remnant,
    Section,
    Statement,
)
from homeport.database.migrations.plan import Clean, Finalize, Observed, Record, Run, plan
from homeport.database.migrations.remnants import look, look_at
from homeport.database.migrations.session import Stopper, Target, connect, locked, set_lock_timeout, settle
from homeport.database.migrations.table import Table, quoted
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

if TYPE_CHECKING:
    from homeport.database.migrations.session import Conn

PAUSES = (0.2, 10.0)
"""Seconds between two attempts at locks: the first, doubled each time, and the longest; half to all of it."""
LOOK_AFTER_LOSS = 30.0
"""How long it tries to find out whether a COMMIT took whose answer was lost."""

BeforeCommit = Callable[["Conn", Migration, Direction], None]


def silent(_: Progress) -> None:
    """Tells nobody."""


def never() -> bool:
    return False


class PostgresMigrator:
    """The migrations of one database. See :class:`homeport.database.migrations.port.Migrator`."""

    def __init__(
        self,
        target: Target,
        options: Options,
        clock: Clock,
        *,
        chance: Callable[[], float] = random.random,
        before_commit: BeforeCommit | None = None,
        after_lone: BeforeCommit | None = None,
        before_first: Callable[[], None] = lambda: None,
    ) -> None:
        """``before_first`` is called once, under the lock, when there is something to do."""
        self._target = target
        self._options = options
        self._clock = clock
        self._chance = chance
        self._before_commit = before_commit
        self._after_lone = after_lone
        self._before_first = before_first
        self._table = Table(options)

    def look(self, files: Sequence[Migration]) -> Observed:
        """What there is, without a lock and without a change."""
        with connect(self._target, self._options) as conn:
            return self._observe(conn, files)

    def run(
        self, files: Sequence[Migration], goal: Goal, *, note: Note = silent, cancelled: Cancelled = never
    ) -> tuple[Done, ...]:
        """Bring the database to the goal; returns what was applied and taken back, in order.

        What was done before an error stays done, and is told by ``note``.
        """
        done: list[Done] = []
        unsure: _Unsure | None = None
        while True:
            conn = self._connect(unsure, cancelled)
            try:
                # The server may not have noticed yet that its client is gone: then this waits for it.
                with locked(conn, self._options, self._clock, note, cancelled):
                    work = _Work(self, conn, files, goal, note, cancelled, done)
                    if unsure is not None:
                        work.settle_what_is_unsure(unsure)
                    return work.to_the_end()
            except _Unsure as e:
                unsure = e
            finally:
                conn.close()

    def _connect(self, unsure: _Unsure | None, cancelled: Cancelled) -> Conn:
        deadline = self._clock.monotonic() + LOOK_AFTER_LOSS
        while True:
            try:
                return connect(self._target, self._options)
            except HomeportError:
                if unsure is None:
                    raise
                if self._clock.monotonic() >= deadline or cancelled():
                    raise failures.lost(unsure.migration) from None
                self._clock.sleep(0.25)

    def _observe(self, conn: Conn, files: Sequence[Migration]) -> Observed:
        rows = self._table.rows(conn)
        return Observed(tuple(files), rows, look(conn, files, rows))

    @property
    def table(self) -> Table:
        return self._table


class _Unsure(Exception):
    """The connection broke while a COMMIT was under way: it took, or it did not."""

    def __init__(self, migration: Migration, direction: Direction, seconds: float) -> None:
        super().__init__(migration.version)
        self.migration = migration
        self.direction = direction
        self.seconds = seconds


class _Work:
    """One run, on one connection that holds the lock."""

    def __init__(
        self,
        migrator: PostgresMigrator,
        conn: Conn,
        files: Sequence[Migration],
        goal: Goal,
        note: Note,
        cancelled: Cancelled,
        done: list[Done],
    ) -> None:
        self._m = migrator
        self._conn = conn
        self._files = files
        self._goal = goal
        self._note = note
        self._cancelled = cancelled
        self._table = migrator._table
        self._options = migrator._options
        self._clock = migrator._clock
        self._done = done
        self._begun = bool(done)
        self._attempts: dict[str, int] = {}
        self._deadlines: dict[str, float] = {}

    def to_the_end(self) -> tuple[Done, ...]:
        import psycopg

        current: Migration | None = None
        try:
            self._table.create(self._conn)
            while True:
                steps = plan(self._m._observe(self._conn, self._files), self._goal)
                if not steps:
                    return tuple(self._done)
                if not self._begun:
                    self._begun = True
                    self._m._before_first()
                current = next((s.migration for s in steps if not isinstance(s, Clean)), None)
                self._take(steps[0], current)
        except psycopg.Error as e:
            # Of our own statements; those of files are dealt with where they run.
            if current is not None and failures.is_lost(self._conn, e):
                raise failures.lost(current) from None
            raise FAILED.error(
                f"cannot migrate: PostgreSQL refused to keep the record: {e.diag.message_primary or type(e).__name__}",
                hint=f"the role that migrates needs to own {self._table.name}, or to CREATE in its schema",
            ) from None

    def settle_what_is_unsure(self, unsure: _Unsure) -> None:
        """Count it as done where its COMMIT took. Raises ``database.migration_connection_lost`` where not."""
        rows = {r.version: r for r in self._table.rows(self._conn)}
        row = rows.get(unsure.migration.version)
        if (row is not None and row.is_applied) != (unsure.direction is Direction.UP):
            raise failures.lost(unsure.migration)
        self._finished(unsure.migration, unsure.direction, unsure.seconds)

    def _take(self, step: Clean | Run | Finalize | Record, current: Migration | None) -> None:
        if isinstance(step, Clean):
            assert current is not None
            self._clean(step.indexes, current)
        elif isinstance(step, Record):
            self._record_found(step.migration, step.direction)
        else:
            section = step.migration.section(step.direction)
            assert section is not None
            statement = section.lone
            if statement is None:
                self._in_transaction(step.migration, step.direction, section)
            elif isinstance(step, Finalize):
                table, part = (
                    ".".join(quoted(p) for p in name if p) for name in (statement.table, statement.name)
                )
                text = f"alter table {table} detach partition {part} finalize"
                self._alone(
                    step.migration, step.direction, section, Statement(text, statement.line, Lone.DETACH)
                )
            else:
                self._alone(step.migration, step.direction, section, statement)

    def _in_transaction(self, migration: Migration, direction: Direction, section: Section) -> None:
        import psycopg

        conn, started = self._conn, self._clock.monotonic()
        statement: Statement | None = None
        committing = False
        self._note(Progress("started", migration.version, f"{direction.value} {migration.filename}"))
        with Stopper(conn, self._cancelled) as stopper:
            try:
                settle(conn, self._options)
                conn.execute("begin")
                for statement in section.statements:
                    stopper.check()
                    self._note(Progress("statement", migration.version, statement.summary))
                    conn.execute(statement.text.encode())
                statement = None
                if conn.info.transaction_status is not psycopg.pq.TransactionStatus.INTRANS:
                    raise FAILED.error(f"cannot apply {migration.filename}: it ended its own transaction")
                stopper.check()
                seconds = self._clock.monotonic() - started
                self._table.record(conn, migration, direction, seconds)
                if self._m._before_commit is not None:
                    self._m._before_commit(conn, migration, direction)
                committing = True
                conn.execute("commit")
            except psycopg.Error as e:
                error = e
            except BaseException:
                with suppress(psycopg.Error):
                    conn.execute("rollback")
                raise
            else:
                self._finished(migration, direction, seconds)
                return
            stopped = stopper.stopped
        if failures.is_lost(conn, error):
            if committing:
                raise _Unsure(migration, direction, seconds) from None
            raise failures.lost(migration) from None
        conn.execute("rollback")
        if failures.is_blocked(error) and not stopped:
            self._wait_to_try_again(migration)
            return
        raise failures.failed(migration, section, statement, error, stopped=stopped) from None

    def _alone(
        self, migration: Migration, direction: Direction, section: Section, statement: Statement
    ) -> None:
        import psycopg

        conn, started, lone = self._conn, self._clock.monotonic(), section.lone
        assert lone is not None and lone.lone is not None
        self._note(Progress("started", migration.version, f"{direction.value} {migration.filename}"))
        settle(conn, self._options)
        stopper = Stopper(conn, self._cancelled)
        stopper.check()
        self._table.begin(conn, migration, direction)
        with stopper:
            try:
                if lone.lone.is_concurrent:
                    set_lock_timeout(conn, self._options.patience)
                self._note(Progress("statement", migration.version, statement.summary))
                conn.execute(statement.text.encode())
            except psycopg.Error as e:
                error: psycopg.Error | None = e
            else:
                error = None
            stopped = stopper.stopped
        if error is None:
            settle(conn, self._options)
            if (
                lone.lone is Lone.CREATE_INDEX
                and look_at(conn, lone, begun=True).remnant is not Remnant.PRESENT
            ):
                # IF NOT EXISTS found another's index of that name: on another table, or half made meanwhile.
                self._table.end(conn, migration.version)
                raise FAILED.error(
                    f"cannot apply {migration.filename}: there is no valid index {lone.name[1]} "
                    f"on {lone.table[1]} after it ran",
                    hint="something else has that name; give the index another",
                )
            seconds = self._clock.monotonic() - started
            if self._m._after_lone is not None:
                self._m._after_lone(conn, migration, direction)
            self._table.record(conn, migration, direction, seconds)
            self._finished(migration, direction, seconds)
            return
        if failures.is_lost(conn, error):
            raise failures.lost(migration) from None
        settle(conn, self._options)
        if failures.is_blocked(error) and not stopped:
            self._wait_to_try_again(migration)
            return
        self._after_failure(migration, lone)
        raise failures.failed(migration, section, statement, error, stopped=stopped) from None

    def _after_failure(self, migration: Migration, lone: Statement) -> None:
        """Leave no trace of a lone statement that PostgreSQL refused, or else the row that says that it ran."""
        import psycopg

        if lone.lone is Lone.BATCHES:
            return
        with suppress(psycopg.Error):
            for schema, name in look_at(self._conn, lone, begun=True).invalid:
                self._drop(schema, name)
            if look_at(self._conn, lone, begun=True).remnant is not Remnant.INVALID:
                self._table.end(self._conn, migration.version)

    def _clean(self, indexes: Sequence[tuple[str, str]], current: Migration) -> None:
        import psycopg

        for schema, name in indexes:
            try:
                set_lock_timeout(self._conn, self._options.patience)
                self._drop(schema, name)
            except psycopg.Error as e:
                if failures.is_lost(self._conn, e):
                    raise failures.lost(current) from None
                if not failures.is_blocked(e):
                    raise UNFINISHED.error(
                        f"cannot drop the invalid index {schema}.{name}: {e.diag.message_primary}",
                        hint=f"drop it by hand: DROP INDEX CONCURRENTLY {quoted(schema)}.{quoted(name)}",
                    ) from None
                self._wait_to_try_again(current)
                return
            finally:
                if not self._conn.closed:
                    settle(self._conn, self._options)
            self._note(Progress("cleaned", current.version, f"dropped the invalid index {schema}.{name}"))

    def _drop(self, schema: str, name: str) -> None:
        text = f"drop index concurrently if exists {quoted(schema)}.{quoted(name)}"
        self._conn.execute(text.encode())

    def _record_found(self, migration: Migration, direction: Direction) -> None:
        rows = {r.version: r for r in self._table.rows(self._conn)}
        started = rows[migration.version].started_at
        seconds = max(0.0, (self._clock.now() - started).total_seconds()) if started is not None else 0.0
        self._table.record(self._conn, migration, direction, seconds)
        self._note(Progress("resumed", migration.version, "it had taken effect; only its record was missing"))
        self._finished(migration, direction, seconds)

    def _finished(self, migration: Migration, direction: Direction, seconds: float) -> None:
        attempts = self._attempts.pop(migration.version, 0) + 1
        self._deadlines.pop(migration.version, None)
        self._done.append(Done(migration.version, direction, seconds, attempts))
        kind = "applied" if direction is Direction.UP else "reverted"
        self._note(Progress(kind, migration.version, migration.filename, seconds))

    def _wait_to_try_again(self, migration: Migration) -> None:
        """Let others through for a while. Raises ``database.migration_blocked`` when patience is at its end."""
        now = self._clock.monotonic()
        attempts = self._attempts[migration.version] = self._attempts.get(migration.version, 0) + 1
        deadline = self._deadlines.setdefault(migration.version, now + self._options.patience)
        pause = min(PAUSES[0] * 2.0 ** min(attempts - 1, 20), PAUSES[1]) * (0.5 + 0.5 * self._m._chance())
        if now + pause >= deadline:
            raise failures.blocked(
                migration, attempts, self._options.patience, _long_transactions(self._conn)
            )
        self._note(
            Progress(
                "retry", migration.version, f"others hold a lock that it needs; attempt {attempts}", pause
            )
        )
        end = now + pause
        while (left := end - self._clock.monotonic()) > 0 and not self._cancelled():
            self._clock.sleep(min(left, 0.25))


def _long_transactions(conn: Conn) -> list[str]:
    found = conn.execute(
        "select pid, application_name, usename, date_trunc('second', now() - xact_start)::text "
        "from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid() "
        "and datname = current_database() order by xact_start limit 5"
    )
    return [
        f"process {r[0]} ({r[1] or 'no name'}, {r[2]}): a transaction open for {r[3]}"
        for r in found.fetchall()
    ]
