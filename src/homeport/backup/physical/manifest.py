"""What was in a cluster at one moment of its log: rows and a digest of each table.

The moment is a restore point; what is compared with it is a copy that was recovered to just there. Rows are read
in snapshots taken around it. A transaction that was under way then may have written its commit before the restore
point though no snapshot saw it: those are noted, and the copy knows how they ended.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from homeport.backup.files.scratch_database import PREFIX as PROOF
from homeport.backup.physical.wal import segment
from homeport.database import refused
from homeport.database.connect import Connection
from homeport.database.migrations.scratch import PREFIX as TRIAL
from homeport.journal.store import parse_time, text_time
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

if TYPE_CHECKING:
    import psycopg

Connect = Callable[[str], AbstractContextManager[Connection]]
WHOLE = 512 * 1024 * 1024
"""Bytes of a table up to which all of it is read; of a larger one the same share of its pages is."""
AT_ONCE = 8
"""Databases of a cluster that are read, its largest: each takes a connection, all at the same moment."""
SEED = 7
ATTEMPTS = 20
PAUSE = 0.02
LOOKING = 0.25
GOING = 5.0
"""Seconds that a database is listed for, at most, after those in it were turned out to drop or to rename it."""
OURS = re.compile(rf"{TRIAL}[0-9]+_[0-9a-f]{{8}}|{PROOF}[0-9a-f]{{12}}")
"""Databases that are there for the time of a trial or a proof."""
SETTINGS = (
    "SET search_path = pg_catalog",
    "SET datestyle = 'ISO, MDY'",
    "SET intervalstyle = 'postgres'",
    "SET timezone = 'UTC'",
    "SET extra_float_digits = 1",
    "SET bytea_output = 'hex'",
    "SET xmloption = 'content'",
    "SET lc_monetary = 'C'",
    "SET row_security = off",
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET synchronize_seqscans = off",
)
"""The text of a value depends on them."""
_SETTINGS = (*SETTINGS, "SET lock_timeout = '1s'")
_TABLES = """
SELECT n.nspname, c.relname, c.oid, c.relfilenode, pg_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND c.relispopulated
AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Table:
    database: str
    schema: str
    name: str
    rows: int
    digest: str
    """The sum of hashes of its rows."""
    percent: float = 100.0
    """Of its pages, which of them follows from their number."""

    @property
    def label(self) -> str:
        return f"{self.database}: {self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Manifest:
    point: str
    """The restore point's name."""
    lsn: str
    timeline: int
    at: datetime
    uncertain: tuple[int, ...]
    """Transactions that the snapshots may not have seen and the restore point has."""
    tables: tuple[Table, ...]
    skipped: tuple[str, ...] = ()
    """Tables that were locked, rewritten or dropped meanwhile; databases that were, or that are too many."""

    @property
    def rows(self) -> int:
        return sum(t.rows for t in self.tables)

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"at": text_time(self.at)}

    @staticmethod
    def of(document: Mapping[str, Any]) -> "Manifest":
        """Raises KeyError, TypeError, ValueError for what is none."""
        values = dict(document)
        values["at"] = parse_time(values["at"])
        values["tables"] = tuple(Table(**t) for t in values["tables"])
        values["uncertain"] = tuple(values["uncertain"])
        values["skipped"] = tuple(values["skipped"])
        return Manifest(**values)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """As pg_current_snapshot() gives it: what was under way, and what had not begun."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @staticmethod
    def of(text: str) -> "Snapshot":
        xmin, xmax, running = text.split(":")
        return Snapshot(int(xmin), int(xmax), frozenset(int(x) for x in running.split(",") if x))


def uncertain(snapshots: Iterable[Snapshot]) -> tuple[int, ...]:
    """Transactions under way in one of them, or begun between two."""
    all_ = tuple(snapshots)
    begun = range(min(s.xmax for s in all_), max(s.xmax for s in all_))
    return tuple(sorted({x for s in all_ for x in s.running} | set(begun)))


def databases(connection: Connection) -> dict[str, int]:
    """Their oids, the largest first. One whose DROP DATABASE was begun is none: that cannot be taken back."""
    rows = connection.execute(
        "SELECT datname, oid FROM pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 "
        "ORDER BY pg_database_size(oid) DESC, datname"
    ).fetchall()
    return dict(rows)


def take(connect: Connect, point: str, clock: Clock, *, whole: int = WHOLE) -> Manifest:
    """Make restore points until one finds no transaction under way, or the last; read what was there then.

    ``point`` is their name but for a number. What is dropped or renamed meanwhile is passed over. Raises
    ``database.not_answering``.
    """
    import psycopg

    with connect("postgres") as beside:
        best: tuple[tuple[int, ...], str, str, datetime] | None = None
        with ExitStack() as stack:
            found = _Databases({})
            for attempt in range(ATTEMPTS):
                found.close()
                stack.close()
                found = _enter(connect, beside, stack, clock)
                snapshots = list(found.snapshots)
                name = f"{point}_{attempt}"
                at, lsn = _one(beside, "SELECT clock_timestamp(), pg_create_restore_point(%s)::text", name)
                snapshots.append(Snapshot.of(_one(beside, "SELECT pg_current_snapshot()::text")[0]))
                best = uncertain(snapshots), name, lsn, at
                if not best[0] and not found.gone:
                    break
                clock.sleep(PAUSE)
            assert best is not None
            (current,) = _one(beside, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
            # The log up to the restore point is archived while the tables are read.
            _one(beside, "SELECT pg_switch_wal()")
            tables: list[Table] = []
            skipped = [f"database {name}" for name in (*found.left_out, *found.gone)]
            for name, connection in found.connections.items():
                try:
                    read, not_read = _read(connection, name, whole)
                except psycopg.Error:
                    if not _goes(beside, name, found.there[name], clock):
                        raise
                    connection.close()
                    read, not_read = [], [f"database {name}"]
                tables += read
                skipped += not_read
        return Manifest(
            best[1], best[2], segment(current).timeline, best[3], best[0], tuple(tables), tuple(skipped)
        )


@dataclass(slots=True)
class _Databases:
    there: dict[str, int]
    connections: dict[str, Connection] = field(default_factory=dict)
    snapshots: list["Snapshot"] = field(default_factory=list)
    left_out: tuple[str, ...] = ()
    gone: list[str] = field(default_factory=list)
    """Meanwhile."""

    def close(self) -> None:
        """Without the COMMIT that psycopg would add: who is in a database that goes has been turned out."""
        for connection in self.connections.values():
            connection.close()


def _enter(connect: Connect, beside: Connection, stack: ExitStack, clock: Clock) -> _Databases:
    """A snapshot of each database, as far as they may be read at once."""
    import psycopg

    there = {name: oid for name, oid in databases(beside).items() if OURS.fullmatch(name) is None}
    names = tuple(there)
    found = _Databases(there, left_out=names[AT_ONCE:])
    for name in names[:AT_ONCE]:
        try:
            found.connections[name] = stack.enter_context(connect(name))
            found.snapshots.append(_begin(found.connections[name]))
        except (HomeportError, psycopg.Error):
            if not _goes(beside, name, there[name], clock):
                raise
            found.gone.append(name)
            if name in found.connections:
                found.connections.pop(name).close()
    return found


def _goes(beside: Connection, name: str, oid: int, clock: Clock) -> bool:
    """Whether what failed in a database did so because it is dropped or renamed just now."""
    until = clock.monotonic() + GOING
    query = (
        "SELECT 1 FROM pg_database WHERE datname = %s AND oid = %s AND datallowconn AND datconnlimit <> -2"
    )
    while beside.execute(query, (name, oid)).fetchone() is not None:
        if clock.monotonic() >= until:
            return False
        clock.sleep(LOOKING)
    return True


def _one(connection: Connection, query: Any, *values: Any) -> tuple[Any, ...]:
    row = connection.execute(query, values or None).fetchone()
    assert row is not None
    return row


def _begin(connection: Connection) -> Snapshot:
    for setting in _SETTINGS:
        connection.execute(setting)
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    return Snapshot.of(_one(connection, "SELECT pg_current_snapshot()::text")[0])


def _read(connection: Connection, database: str, whole: int) -> tuple[list[Table], list[str]]:
    import psycopg

    tables: list[Table] = []
    skipped: list[str] = []
    for schema, name, oid, filenode, size in connection.execute(_TABLES).fetchall():
        table = Table(database, schema, name, 0, "", share(size or 0, whole))
        try:
            connection.execute("SAVEPOINT reading")
            counted = count(connection, table)
            (now,) = _one(connection, "SELECT pg_relation_filenode(%s::oid)", oid)
            # A TRUNCATE or a rewrite shows in every snapshot.
            if now == filenode:
                tables.append(counted)
            else:
                skipped.append(table.label)
            connection.execute("RELEASE reading")
        except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
            connection.execute("ROLLBACK TO reading")
            skipped.append(table.label)
    connection.execute("COMMIT")
    return tables, skipped


def share(size: int, whole: int) -> float:
    return 100.0 if size <= whole else round(100 * whole / size, 3)


def count(connection: Connection, table: Table) -> Table:
    """The same table with the rows and digest that it has now."""
    from psycopg import sql

    sample: sql.Composable = sql.SQL("")
    if table.percent < 100:
        sample = sql.SQL(" TABLESAMPLE SYSTEM ({}) REPEATABLE ({})").format(
            sql.Literal(table.percent), sql.Literal(SEED)
        )
    rows, digest = _one(
        connection,
        sql.SQL(
            "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {}.{} t{}"
        ).format(sql.Identifier(table.schema), sql.Identifier(table.name), sample),
    )
    return replace(table, rows=rows, digest=digest)


@dataclass(frozen=True, slots=True)
class Comparison:
    tables: int
    rows: int
    differences: tuple[str, ...]
    undecided: tuple[str, ...]
    """Tables that differ, where a transaction that ended just then may be the reason."""


def compare(manifest: Manifest, connect: Connect) -> Comparison:
    """With a copy that was recovered to the manifest's restore point."""
    import psycopg

    missing: list[str] = []
    differences: list[str] = []
    rows = 0
    by_database: dict[str, list[Table]] = {}
    for table in manifest.tables:
        by_database.setdefault(table.database, []).append(table)
    with connect("postgres") as connection:
        there = databases(connection)
        late = _committed(connection, manifest.uncertain)
    for database, tables in by_database.items():
        if database not in there:
            missing.append(f"database {database} is missing")
            continue
        with connect(database) as connection:
            for setting in _SETTINGS:
                connection.execute(setting)
            for table in tables:
                try:
                    found = count(connection, table)
                except psycopg.errors.UndefinedTable:
                    missing.append(f"{table.label} is missing")
                    continue
                except psycopg.Error as e:
                    missing.append(f"{table.label} cannot be read: {_said(e)}")
                    continue
                rows += found.rows
                if found.rows != table.rows:
                    differences.append(f"{table.label} has {found.rows} rows instead of {table.rows}")
                elif found.digest != table.digest:
                    differences.append(f"{table.label} has other content")
    if late:
        return Comparison(len(manifest.tables), rows, tuple(missing), tuple(differences))
    return Comparison(len(manifest.tables), rows, (*missing, *differences), ())


def _committed(connection: Connection, transactions: Iterable[int]) -> tuple[int, ...]:
    import psycopg

    found = []
    for xid in transactions:
        # One that the copy has not come to is refused.
        with suppress(psycopg.Error):
            (status,) = _one(connection, "SELECT pg_xact_status(%s::text::xid8)", str(xid))
            if status == "committed":
                found.append(xid)
    return tuple(found)


def _said(error: "psycopg.Error") -> str:
    return refused.why(error)
