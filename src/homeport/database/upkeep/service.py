"""Runs upkeep: looks, plans, runs the steps within a time limit, and looks again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from homeport.database import refused
from homeport.database.upkeep.commands import statement, text
from homeport.database.upkeep.errors import BUSY, FAILED, LOST, TIMED_OUT, UNDER_WAY
from homeport.database.upkeep.model import Clean, Measure, Name, Outcome, Refresh, Reindex, Seen, State, Step
from homeport.database.upkeep.plan import plan, target
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_duration
from homeport.spec.model_database import Upkeep

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

LOCK_TIMEOUT = 5.0
"""Seconds that a refresh which locks out readers waits for its lock. The others wait beside readers and writers,
so they may wait for as long as their time limit."""
WAITING = 10.0
"""Seconds for the session of a run that was cut off to end: until the server sees that its client is gone, it works on
and is the only one."""
PAUSE = 0.25
CLIENT_CHECK = 1.0
"""Seconds between two looks of the server at whether this client is there still."""
CLEANING = 10.0
"""Seconds for what a statement that was cut off left behind."""
SHORTEST = 1.0
"""Seconds that a statement has at least. Its limit holds for what the session says next, too, until that sets
another: with a millisecond left, the unlocking at the end was cancelled."""


def run(connection: Connection, upkeep: Upkeep, clock: Clock) -> Outcome:
    """One run of ``upkeep``, at most ``upkeep.timeout`` seconds, :data:`WAITING` before and :data:`CLEANING`
    after, with :data:`SHORTEST` more for each invalid index.

    ``connection`` leads to the server itself, not through a transaction pool, as the owner of the target or as a
    superuser. What the database refuses is in the outcome. Raises database.upkeep_busy.
    """
    import psycopg
    from psycopg.pq import TransactionStatus

    if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
        raise BUSY.error(
            f'cannot run the upkeep "{upkeep.name}": its connection is closed or in a transaction',
            hint="give it a connection of its own",
        )
    work = _Work(connection, upkeep, clock)
    try:
        with _session(connection, upkeep.timeout):
            return work.run()
    except psycopg.Error as e:
        return work.cut_off(work.failure(e))


@dataclass(slots=True)
class _Work:
    connection: Connection
    upkeep: Upkeep
    clock: Clock
    begun: float = 0.0
    statement: str = ""
    before: Measure | None = None
    after: Measure | None = None
    dropped: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def run(self) -> Outcome:
        self.begun = self.clock.monotonic()
        key = f"homeport upkeep {self.upkeep.kind} {target(self.upkeep) or ''}"
        with _alone(self.connection, key, self.clock) as alone:
            if not alone:
                error = UNDER_WAY.error(
                    f'cannot run the upkeep "{self.upkeep.name}": it runs already', hint="try again later"
                )
                return self.outcome(State.REFUSED, error)
            self.begun = self.clock.monotonic()
            seen = look(self.connection, target(self.upkeep))
            self.before = self._measure(seen)
            try:
                steps = plan(self.upkeep, seen)
            except HomeportError as e:
                return self.outcome(State.REFUSED, e)
            return self._steps(steps)

    def _steps(self, steps: tuple[Step, ...]) -> Outcome:
        import psycopg

        self.statement = text(steps[-1])
        for step in steps:
            left = self.upkeep.timeout - self._elapsed()
            try:
                if left > 0:
                    self._step(step, max(SHORTEST, left))
                    continue
                error = self._late()
            except psycopg.Error as e:
                error = self.failure(e)
            if not self.connection.closed and isinstance(step, Clean | Reindex):
                self._clean()
            return self.cut_off(error)
        self.after = self._measure(look(self.connection, target(self.upkeep)))
        return self.outcome(State.DONE)

    def _step(self, step: Step, seconds: float) -> None:
        locks_out = isinstance(step, Refresh) and not step.concurrently
        _set(self.connection, statement_timeout=seconds, lock_timeout=LOCK_TIMEOUT if locks_out else 0.0)
        self.connection.execute(statement(step), prepare=False)
        if isinstance(step, Clean):
            self.dropped.append(str(step.index))

    def _clean(self) -> None:
        """An invalid index costs at each write; what cannot be dropped now is for the next run."""
        import psycopg

        until = self.clock.monotonic() + CLEANING
        try:
            _set(self.connection, statement_timeout=CLEANING)
            seen = look(self.connection, target(self.upkeep))
        except psycopg.Error:
            return
        for index in seen.leftovers if seen else ():
            try:
                self._step(Clean(index), max(SHORTEST, until - self.clock.monotonic()))
            except psycopg.Error:
                self.left.append(str(index))

    def _measure(self, seen: Seen | None) -> Measure | None:
        if seen is not None:
            return Measure(seen.bytes, seen.rows)
        if self.upkeep.target:
            return None
        row = self.connection.execute("SELECT pg_catalog.pg_database_size(current_database())").fetchone()
        return Measure(row[0], None) if row else None

    def _elapsed(self) -> float:
        return self.clock.monotonic() - self.begun

    def outcome(self, state: State, error: HomeportError | None = None) -> Outcome:
        return Outcome(
            self.upkeep.name,
            state,
            self.statement,
            self._elapsed(),
            self.before,
            self.after,
            tuple(self.dropped),
            tuple(self.left),
            error,
        )

    def cut_off(self, error: HomeportError) -> Outcome:
        return self.outcome(State.TIMED_OUT if error.type is TIMED_OUT else State.FAILED, error)

    def _late(self) -> HomeportError:
        return TIMED_OUT.error(
            f"{self._what} within {format_duration(self.upkeep.timeout)}",
            hint="give it a longer timeout, or a time at which no long transaction holds it up",
        )

    @property
    def _what(self) -> str:
        return f'cannot finish the upkeep "{self.upkeep.name}"'

    def failure(self, error: psycopg.Error) -> HomeportError:
        from psycopg import errors

        what = self._what
        if self.connection.closed:
            return LOST.error(f"{what}: the connection was lost", hint="it runs again when it is due")
        if isinstance(error, errors.LockNotAvailable):
            hint = "it runs again when it is due; homeport db insight shows who holds locks"
            return FAILED.error(f"{what}: its target was locked for {LOCK_TIMEOUT:.0f} s", hint=hint)
        if isinstance(error, errors.QueryCanceled) and self._elapsed() >= self.upkeep.timeout * 0.99:
            return self._late()
        return FAILED.error(
            f"{what}: {refused.why(error)}",
            hint=one_line(error.diag.message_hint or ""),
        )


def look(connection: Connection, name: Name | None) -> Seen | None:
    """None where it is not there, or where there is no name."""
    if name is None:
        return None
    query = files("homeport.database.upkeep").joinpath("target.sql").read_bytes()
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog, pg_temp", prepare=False)
        cursor = connection.execute(query, {"schema": name.schema, "name": name.name}, prepare=False)
        row = cursor.fetchone()
    if row is None:
        return None
    kind, size, rows, filled, unique, exclusion, system, leftovers, building = row
    indexes = tuple(Name(schema, index) for schema, index in leftovers)
    return Seen(name, kind, size, rows, filled, unique, exclusion, system, indexes, building)


def one_line(message: str) -> str:
    return " ".join(message.split())[:300]


@contextmanager
def _session(connection: Connection, timeout: float) -> Iterator[None]:
    """In autocommit, with a time limit; as it was afterwards."""
    autocommit = connection.autocommit
    connection.autocommit = True
    try:
        before = _settings(connection)
        _set(
            connection,
            statement_timeout=timeout,
            lock_timeout=0.0,
            client_connection_check_interval=CLIENT_CHECK,
        )
        yield
        _restore(connection, before)
    finally:
        if not connection.closed:
            connection.autocommit = autocommit


def _set(connection: Connection, **seconds: float) -> None:
    for name, value in seconds.items():
        milliseconds = str(max(1, round(value * 1000)) if value else 0)
        connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, milliseconds], prepare=False)


def _settings(connection: Connection) -> dict[str, str]:
    """What :func:`_session` changes, as it is now."""
    query = (
        "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.unnest(%s::pg_catalog.text[]) AS name"
    )
    names = ["statement_timeout", "lock_timeout", "client_connection_check_interval"]
    return dict(connection.execute(query, [names], prepare=False).fetchall())


def _restore(connection: Connection, settings: Mapping[str, str]) -> None:
    if connection.closed:
        return
    for name, value in settings.items():
        connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value], prepare=False)


@contextmanager
def _alone(connection: Connection, key: str, clock: Clock) -> Iterator[bool]:
    """Whether this session is the only one with ``key``; waits :data:`WAITING` for another one to end.

    It asks again and again: waiting inside PostgreSQL would hold a snapshot, which a REINDEX CONCURRENTLY of the
    other one waits for.
    """
    until = clock.monotonic() + WAITING
    while not (got := _try(connection, key)) and clock.monotonic() < until:
        clock.sleep(PAUSE)
    try:
        yield got
    finally:
        if got and not connection.closed:
            query = "SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended(%s, 0))"
            connection.execute(query, [key], prepare=False)


def _try(connection: Connection, key: str) -> bool:
    row = connection.execute(
        "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended(%s, 0))", [key], prepare=False
    ).fetchone()
    return bool(row and row[0])
