"""``state.db``: opening it, transactions, and the journal in it."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, Row

from homeport.journal import schema
from homeport.journal.model import Event, Record
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError, Kind, declare

SCHEMA = "0009"
"""The newest revision in ``migrations/versions``."""

UNREADABLE = declare("journal.unreadable", Kind.FAILED, "state.db is truncated, damaged, or not a database.")
NEWER = declare("journal.newer_version", Kind.CONFLICT, "The data directory was written by a newer Homeport.")

GENESIS = "0" * 64


def text_time(at: datetime) -> str:
    """A time as it is stored: UTC, microseconds, so that text order is time order."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def check(path: Path) -> None:
    """Look whether ``state.db`` can be opened, without changing it. Raises as :func:`open_engine`."""
    engine = _engine(path)
    try:
        _revision(engine, path)
    finally:
        engine.dispose()


def open_engine(path: Path) -> Engine:
    """Open ``state.db``, made or migrated to this version's schema.

    Raises ``journal.unreadable`` or ``journal.newer_version`` and leaves the file as it is.
    """
    engine = _engine(path)
    try:
        if _revision(engine, path) != SCHEMA:
            _migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    path.chmod(0o600)
    return engine


def _engine(path: Path) -> Engine:
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 15}, pool_size=8)

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=15000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _revision(engine: Engine, path: Path) -> str | None:
    """The schema's revision; None for a new, empty database."""
    revision: str | None = None
    try:
        with engine.connect() as connection:
            problem = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            tables = sa.inspect(connection).get_table_names()
            if "alembic_version" in tables:
                revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    except sa.exc.DatabaseError as e:
        raise _unreadable(path, str(e.orig)) from e
    if problem != "ok":
        raise _unreadable(path, f"it is damaged ({problem})")
    if revision is None and tables:
        raise _unreadable(path, "it is not Homeport's")
    if revision is not None and revision > SCHEMA:
        raise NEWER.error(
            f"cannot open {path}: it was written by a newer Homeport (schema {revision}, here {SCHEMA})",
            hint="install the newer Homeport again, or use another --data-dir",
        )
    return revision


def _unreadable(path: Path, why: str) -> HomeportError:
    return UNREADABLE.error(
        f"cannot open {path}: {why}",
        hint="apps go on serving; move the file away only when a backup is at hand",
    )


def _migrate(engine: Engine) -> None:
    # Imported only when there is something to do: it costs 40 ms and 6 MB.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


class Store:
    """Transactions on ``state.db``; the only way to write to it."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self._clock = clock
        self._write = threading.Lock()
        self.mask: Callable[[str], str] = str
        """Takes secrets out of a text; set by the control plane. Every text of an event goes through it."""
        self.version = 0
        """Grows with each committed write: followers look again when it has changed."""

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def transaction(self, actor: str) -> Iterator["Transaction"]:
        """A write transaction: all of it, its events included, or nothing."""
        with self._write:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    yield Transaction(connection, actor, self._clock, self.mask)
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
            self.version += 1

    def records(
        self,
        *,
        after: int = 0,
        app: str | None = None,
        change: str | None = None,
        limit: int = 1000,
        newest: bool = False,
    ) -> list[Record]:
        """Records with ``seq`` above ``after``, oldest first; the newest ``limit`` or the oldest."""
        e = schema.events.c
        query = sa.select(schema.events).where(e.seq > after)
        if app is not None:
            query = query.where(e.app == app)
        if change is not None:
            query = query.where(e.change == change)
        query = query.order_by(e.seq.desc() if newest else e.seq).limit(limit)
        with self.read() as connection:
            records = [_record(row) for row in connection.execute(query)]
        return records[::-1] if newest else records

    def told_of_run(self, app: str, environment: str, run: str) -> list[Record]:
        """The records that tell of a one-off or scheduled run, by its id, oldest first."""
        e = schema.events.c
        query = (
            sa.select(schema.events)
            .where(e.app == app, e.environment == environment, e.data["run"].as_string() == run)
            .order_by(e.seq)
        )
        with self.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def first_broken(self) -> int | None:
        """The first record whose hash does not follow from its content and the one before; None if whole."""
        previous = GENESIS
        expected = 1
        with self.read() as connection:
            for row in connection.execute(sa.select(schema.events).order_by(schema.events.c.seq)):
                if row.seq != expected or row.hash != _digest(previous, row._mapping):
                    return expected
                previous = row.hash
                expected += 1
        return None


class Transaction:
    """What may be done within one write transaction."""

    def __init__(
        self, connection: Connection, actor: str, clock: Clock, mask: Callable[[str], str] = str
    ) -> None:
        self.connection = connection
        self.actor = actor
        self.now = clock.now()
        self._mask = mask

    def execute(self, statement: Any) -> sa.CursorResult[Any]:
        return self.connection.execute(statement)

    def append(self, event: Event) -> int:
        """Append an event to the journal; returns its ``seq``."""
        e = schema.events.c
        last = self.connection.execute(sa.select(e.seq, e.hash).order_by(e.seq.desc()).limit(1)).first()
        values: dict[str, Any] = {
            "seq": last.seq + 1 if last else 1,
            "at": text_time(self.now),
            "kind": event.kind,
            "app": event.app,
            "environment": event.environment,
            "change": event.change,
            "actor": self.actor,
            "data": _masked(event.data(), self._mask),
        }
        values["hash"] = _digest(last.hash if last else GENESIS, values)
        self.connection.execute(schema.events.insert().values(**values))
        return int(values["seq"])


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    match value:
        case str():
            return mask(value)
        case dict():
            return {k: _masked(v, mask) for k, v in value.items()}
        case list() | tuple():
            return [_masked(v, mask) for v in value]
        case _:
            return value


def _digest(previous: str, values: Any) -> str:
    names = ("seq", "at", "kind", "app", "environment", "change", "actor", "data")
    content = json.dumps([values[name] for name in names], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{content}".encode()).hexdigest()


def _record(row: Row[Any]) -> Record:
    return Record(
        row.seq,
        parse_time(row.at),
        row.kind,
        row.app,
        row.environment,
        row.change,
        row.actor,
        row.data,
        row.hash,
    )
