"""Pending migrations tried up, down and up on a scratch database with production's schema.

The schema is production's, the rows are not: times are those of empty tables. What a migration does to a table
that has rows is said by the locks it takes, by whether it writes the table anew, and by production's sizes: a
rewrite's time is reckoned from the rate at which this server writes a table anew.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.database.migrations.catalog import snapshot
from homeport.database.migrations.differences import Difference, differences
from homeport.database.migrations.model import (
    OWN_SCHEMA,
    TABLE,
    Direction,
    Done,
    Goal,
    Migration,
    Options,
    Progress,
)
from homeport.database.migrations.plan import pending, problems
from homeport.database.migrations.runner import PostgresMigrator
from homeport.database.migrations.scratch import is_apart, scratch
from homeport.database.migrations.session import APPLICATION, Target, connect
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

if TYPE_CHECKING:
    from homeport.database.migrations.session import Conn

MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
"""Weakest first, as PostgreSQL's manual has them under "Table-Level Locks"."""
WAITS = {
    "ShareLock": "writes",
    "ShareRowExclusiveLock": "writes",
    "ExclusiveLock": "writes",
    "AccessExclusiveLock": "reads and writes",
}
RATE_ROWS = 100_000
TABLES = (
    "select c.oid::bigint, format('%I.%I', n.nspname, c.relname), pg_relation_filenode(c.oid)::bigint, "
    "greatest(c.reltuples, 0)::bigint, pg_table_size(c.oid) "
    "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    f"where c.relkind in ('r', 'p', 'm') and c.relname <> '{TABLE}' and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', '{OWN_SCHEMA}')"
)
HELD = (
    "select l.relation::bigint, l.mode from pg_locks l where l.locktype = 'relation' and l.granted "
    "and l.database = (select oid from pg_database where datname = current_database()) and l.pid "
)


@dataclass(frozen=True, slots=True)
class Touched:
    """A table that was there before and that a migration locked or wrote anew."""

    table: str
    lock: str
    """The strongest mode."""
    waits: str
    """Who waits while the lock is held: "", "writes", "reads and writes"."""
    rewritten: bool
    rows: int
    """In production, by its statistics."""
    size: int
    """Bytes in production, without indexes."""
    reckoned: float | None
    """Seconds that a rewrite takes at production's size; None where nothing is rewritten."""


@dataclass(frozen=True, slots=True)
class Tried:
    version: str
    filename: str
    direction: Direction
    seconds: float
    touched: tuple[Touched, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    tried: tuple[Tried, ...]
    """Up, down and up, in the order in which they ran."""
    without_down: tuple[str, ...]
    """Files that cannot be taken back, and those before them, which were therefore not taken back."""
    leavings: tuple[Difference, ...]
    """How the schema after the down sections differs from the one before: ``there`` is after."""
    unstable: tuple[Difference, ...]
    """How the schema after the second up differs from the one after the first."""
    failure: HomeportError | None = None
    """Why down, or the second up, failed: production gets the first up, but could not be taken back."""


@dataclass(frozen=True, slots=True)
class _Size:
    name: str
    node: int
    rows: int
    size: int


@dataclass(slots=True)
class _Watch:
    """What the migrations do on the scratch database."""

    target: Target
    sizes: dict[str, _Size]
    before: dict[int, _Size] = field(default_factory=dict)
    held: dict[int, str] = field(default_factory=dict)
    touched: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)

    def note(self, progress: Progress) -> None:
        if progress.kind == "started":
            self.held.clear()
            with connect(self.target, Options()) as conn:
                self.before = _tables(conn)

    def look(self, conn: Conn, migration: Migration, direction: Direction) -> None:
        for oid, mode in conn.execute((HELD + "= pg_backend_pid()").encode()).fetchall():
            self.hold(oid, mode)
        after = _tables(conn)
        found: dict[str, tuple[str, bool]] = {}
        for oid, table in self.before.items():
            mode = self.held.get(oid, "")
            rewritten = oid in after and after[oid].node != table.node and bool(table.node)
            if MODES.index(mode or MODES[0]) >= MODES.index("RowExclusiveLock") or rewritten:
                found[table.name] = (mode or MODES[-1], rewritten)
        self.touched[f"{direction.value} {migration.version}"] = found

    def hold(self, oid: int, mode: str) -> None:
        if mode in MODES and MODES.index(mode) >= MODES.index(self.held.get(oid, MODES[0])):
            self.held[oid] = mode


def trial(
    production: Target,
    admin: Target,
    files: Sequence[Migration],
    goal: Goal,
    options: Options,
    clock: Clock,
    *,
    programs: Path,
) -> Trial:
    """Try what ``goal`` would apply to production, on a copy of its schema. Production is only read.

    ``programs`` is where pg_dump and psql are. Raises what the first up raises.
    """
    with connect(production, options) as conn:
        sizes = {t.name: t for t in _tables(conn).values()}
    real = PostgresMigrator(production, options, clock)
    observed = real.look(files)
    for problem in problems(observed, goal):
        raise problem
    wanted = pending(observed, goal)
    own = replace(options, owner="" if is_apart(production, admin) else options.owner, reader="")
    with scratch(production, admin, options, clock, programs=programs) as made:
        watch = _Watch(made, sizes)
        migrator = PostgresMigrator(made, own, clock, before_commit=watch.look, after_lone=watch.look)
        with connect(made, own) as conn:
            migrator.table.create(conn)
            for row in observed.rows:
                if row.running is None:
                    migrator.table.put(conn, row)
            first = snapshot(conn, schema=options.schema)
            back = _revertible(wanted)
            leavings: tuple[Difference, ...] = ()
            unstable: tuple[Difference, ...] = ()
            failure: HomeportError | None = None
            done: list[Done] = []

            def note(progress: Progress) -> None:
                watch.note(progress)
                if progress.kind in ("applied", "reverted"):
                    direction = Direction.UP if progress.kind == "applied" else Direction.DOWN
                    done.append(Done(progress.version, direction, progress.seconds))

            with _sampled(made, watch):
                migrator.run(files, goal, note=note)
                up = snapshot(conn, schema=options.schema)
                try:
                    if back:
                        down = Goal(Direction.DOWN, versions=tuple(m.version for m in back))
                        migrator.run(files, down, note=note)
                        if len(back) == len(wanted):
                            leavings = differences(snapshot(conn, schema=options.schema), first)
                        migrator.run(files, goal, note=note)
                        unstable = differences(snapshot(conn, schema=options.schema), up)
                except HomeportError as e:
                    failure = e
            rate = (
                _rate(conn, clock) if any(r for t in watch.touched.values() for _, r in t.values()) else None
            )
    names = {m.version: m.filename for m in files}
    return Trial(
        tried=tuple(_tried(d, names[d.version], watch, rate) for d in done),
        without_down=tuple(m.filename for m in wanted if m not in back),
        leavings=leavings,
        unstable=unstable,
        failure=failure,
    )


def _revertible(wanted: Sequence[Migration]) -> tuple[Migration, ...]:
    """The last ones in a row that have a down section."""
    found: list[Migration] = []
    for migration in reversed(wanted):
        if migration.down is None:
            break
        found.append(migration)
    return tuple(found)


def _tried(done: Done, filename: str, watch: _Watch, rate: float | None) -> Tried:
    touched = []
    for name, (mode, rewritten) in sorted(
        watch.touched.get(f"{done.direction.value} {done.version}", {}).items()
    ):
        there = watch.sizes.get(name)
        rows, size = (there.rows, there.size) if there is not None else (0, 0)
        reckoned = size / rate if rewritten and rate else None
        touched.append(Touched(name, mode, WAITS.get(mode, ""), rewritten, rows, size, reckoned))
    return Tried(done.version, filename, done.direction, done.seconds, tuple(touched))


def _tables(conn: Conn) -> dict[int, _Size]:
    found = conn.execute(TABLES.encode()).fetchall()
    return {r[0]: _Size(r[1], r[2] or 0, r[3], r[4] or 0) for r in found}


def _rate(conn: Conn, clock: Clock) -> float:
    """Bytes a second at which this server writes a table anew."""
    conn.execute(
        f"create table homeport_rate as select g as a, repeat('x', 100) as b from generate_series(1, {RATE_ROWS}) g"
    )
    started = clock.monotonic()
    conn.execute("alter table homeport_rate alter column a type bigint")
    seconds = max(clock.monotonic() - started, 0.001)
    row = conn.execute("select pg_table_size('homeport_rate')").fetchone()
    conn.execute("drop table homeport_rate")
    return float(row[0]) / seconds if row else 1.0


class _sampled:
    """Looks at the locks a hundred times a second: a statement without a transaction holds its own only a while."""

    def __init__(self, target: Target, watch: _Watch) -> None:
        self._conn = connect(target, Options())
        self._watch = watch
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="homeport-trial-locks", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._conn.close()

    def _look(self) -> None:
        text = HELD + (
            "in (select pid from pg_stat_activity where application_name = %s and state = 'active' "
            "and datname = current_database() and pid <> pg_backend_pid())"
        )
        while not self._ended.wait(0.01):
            with suppress(Exception):
                for oid, mode in self._conn.execute(text, (APPLICATION,)).fetchall():
                    self._watch.hold(oid, mode)
