"""A connection for migrations: checked, with its settings, its role, and the lock of its database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from homeport.database import refused
from homeport.database.migrations.errors import CANCELLED, LOCK_BUSY, REFUSED, UNREACHABLE, UNSUITABLE
from homeport.database.migrations.model import Cancelled, Note, Options, Progress
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.masking import Masker

if TYPE_CHECKING:
    from psycopg import Connection

    Conn = Connection[Any]

OLDEST = 150000
LOCK = 0x686F6D65706F7274
"""Key of the advisory lock: "homeport" in ASCII. PostgreSQL keeps such locks by database."""
APPLICATION = "homeport migrate"
POLL = (0.05, 1.0)
"""Seconds between two looks at the lock: first and longest."""


@dataclass(frozen=True, slots=True)
class Target:
    """A database, reached directly: behind a pooler of transactions a session's lock holds nothing."""

    url: str = field(repr=False)
    """With the password."""

    def parameters(self) -> dict[str, str]:
        """As libpq has them. Raises ``database.migration_login_refused`` for a URL that it cannot read."""
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        try:
            return {k: str(v) for k, v in conninfo_to_dict(self.url).items() if v is not None}
        except ProgrammingError:
            # Its message quotes the URL.
            raise REFUSED.error(
                "cannot read the database's URL",
                hint="it looks like postgresql://USER:PASSWORD@HOST:5432/NAME",
            ) from None

    def mask(self, text: str) -> str:
        """``text`` without the password."""
        password = self.parameters().get("password", "")
        return Masker([password]).mask_text(text) if password else text

    @property
    def place(self) -> str:
        """For people: database and server."""
        p = self.parameters()
        return f"{p.get('dbname', '')} at {p.get('host', 'localhost')}:{p.get('port', '5432')}"


def connect(target: Target, options: Options) -> Conn:
    """A connection in autocommit mode, as the owner.

    Raises ``database.migration_unreachable``, ``…_login_refused``, ``…_server_unsuitable``.
    """
    import psycopg

    parameters: dict[str, Any] = {
        "connect_timeout": "10", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3",
        **target.parameters(), "application_name": APPLICATION,
    }  # fmt: skip
    try:
        conn = psycopg.connect(**parameters, autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as e:
        raise _cannot_connect(target, str(e)) from None
    try:
        _check(conn, target)
        settle(conn, options)
    except psycopg.Error as e:
        conn.close()
        raise UNSUITABLE.error(
            f"cannot migrate {target.place}: {target.mask(refused.why(e))}",
            hint="the role that logs in needs the right to SET ROLE to the owner of the database",
        ) from None
    except BaseException:
        conn.close()
        raise
    return conn


def settle(conn: Conn, options: Options) -> None:
    """Settings and role as a migration needs them, whatever a file left behind."""
    conn.execute("reset all")
    settings = {
        "lock_timeout": f"{_ms(options.lock_timeout)}",
        "statement_timeout": f"{_ms(options.statement_timeout)}",
        "idle_in_transaction_session_timeout": "60000",
        "client_connection_check_interval": "1000",
        "synchronous_commit": "on",
        "application_name": APPLICATION,
    }
    for name, value in settings.items():
        conn.execute("select set_config(%s, %s, false)", (name, value))
    if options.owner:
        from psycopg import sql

        conn.execute(sql.SQL("set role {}").format(sql.Identifier(options.owner)))


def set_lock_timeout(conn: Conn, seconds: float) -> None:
    conn.execute("select set_config('lock_timeout', %s, false)", (f"{_ms(seconds)}",))


@contextmanager
def locked(conn: Conn, options: Options, clock: Clock, note: Note, cancelled: Cancelled) -> Iterator[None]:
    """Hold the lock of the database's migrations, as long as this connection lives.

    It is asked for again and again: waiting for it inside PostgreSQL would hold a snapshot, which
    CREATE INDEX CONCURRENTLY of the holder waits for. Raises ``database.migration_locked``.
    """
    deadline = clock.monotonic() + options.wait_for_other
    pause, told = POLL[0], False
    while not _try(conn):
        if cancelled():
            raise CANCELLED.error("cannot go on migrating: it was stopped while it waited for another one")
        if clock.monotonic() >= deadline:
            raise LOCK_BUSY.error(
                "cannot migrate: another migration of this database is under way",
                hint="try again when it has ended",
                details=_holder(conn),
            )
        if not told:
            note(Progress("waiting", text="another migration of this database is under way"))
            told = True
        clock.sleep(pause)
        pause = min(pause * 1.5, POLL[1])
    try:
        yield
    finally:
        with suppress(Exception):
            conn.execute("select pg_advisory_unlock(%s)", (LOCK,))


def _try(conn: Conn) -> bool:
    row = conn.execute("select pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
    return bool(row and row[0])


def _holder(conn: Conn) -> list[str]:
    found = conn.execute(
        "select a.pid, a.application_name, date_trunc('second', now() - a.backend_start)::text, a.state "
        "from pg_locks l join pg_stat_activity a using (pid) where l.locktype = 'advisory' and l.granted "
        "and l.database = (select oid from pg_database where datname = current_database()) "
        "and l.classid = (%(key)s::bigint >> 32)::bigint::oid "
        "and l.objid = (%(key)s::bigint & 4294967295)::bigint::oid",
        {"key": LOCK},
    )
    return [
        f"process {r[0]} of PostgreSQL ({r[1]}), for {r[2]}, {r[3] or 'unknown'}" for r in found.fetchall()
    ]


class Stopper:
    """Asks four times a second whether to stop, and then cancels what the connection is doing."""

    def __init__(self, conn: Conn, cancelled: Cancelled) -> None:
        self._conn = conn
        self._cancelled = cancelled
        self._ended = threading.Event()
        self.stopped = False
        self._thread = threading.Thread(target=self._watch, name="homeport-migrate-stop", daemon=True)

    def __enter__(self) -> Stopper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        if self.stopped or self._cancelled():
            self.stopped = True
            raise CANCELLED.error("cannot go on migrating: it was stopped")

    def _watch(self) -> None:
        while not self._ended.wait(0.25):
            if self.stopped or self._cancelled():
                self.stopped = True
                with suppress(Exception):
                    self._conn.cancel()


def _check(conn: Conn, target: Target) -> None:
    if conn.info.server_version < OLDEST:
        raise UNSUITABLE.error(
            f"cannot migrate {target.place}: it is PostgreSQL {conn.info.parameter_status('server_version')}",
            hint="PostgreSQL 15 is the oldest that Homeport migrates",
        )
    row = conn.execute(
        "select pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'"
    ).fetchone()
    assert row is not None
    if row[0] or row[1]:
        why = "it is a standby" if row[0] else "default_transaction_read_only is on"
        raise UNSUITABLE.error(
            f"cannot migrate {target.place}: it takes no writes ({why})", hint="give the URL of the primary"
        )


def _cannot_connect(target: Target, message: str) -> HomeportError:
    text = target.mask(" ".join(message.split()))[:300]
    refused = (
        "authentication failed",
        "no password supplied",
        "does not exist",
        "no pg_hba.conf entry",
        "permission denied",
    )
    if any(word in text for word in refused):
        return REFUSED.error(
            f"cannot log in to {target.place}",
            hint="check the URL's role, password and database",
            details=[text],
        )
    return UNREACHABLE.error(
        f"cannot reach {target.place}",
        hint="check the URL's host and port, and that PostgreSQL runs",
        details=[text],
    )


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
