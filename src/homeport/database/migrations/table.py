"""The table ``homeport_migrations``, and the one that dbmate left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from homeport.database.migrations.model import TABLE, Direction, Migration, Options, Row

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

    Conn = Connection[Any]

COLUMNS = (
    "version, description, filename, checksum, source, applied_at, duration, applied_by, release, "
    "rolled_back_at, running, started_at"
)
CREATE = """
create table if not exists {} (
    version text primary key,
    description text not null,
    filename text not null,
    checksum text not null,
    source text not null,
    applied_at timestamptz,
    duration double precision,
    applied_by text not null,
    release text not null,
    rolled_back_at timestamptz,
    running text check (running in ('up', 'down')),
    started_at timestamptz,
    check (applied_at is not null or running is not null)
)
"""
"""The last check: a version that was never applied has no row, but while one of its statements runs."""

UPSERT = """
insert into {table} (version, description, filename, checksum, source, applied_by, release, {columns})
values (%(version)s, %(description)s, %(filename)s, %(checksum)s, %(source)s, %(by)s, %(release)s, {values})
on conflict (version) do update set {updates}
"""
OWN_COLUMNS = ("description", "filename", "checksum", "source", "applied_by", "release")


class Table:
    """Reads and writes rows on a connection. Each call is one statement of the transaction it is in."""

    def __init__(self, options: Options) -> None:
        self._options = options

    @property
    def name(self) -> str:
        return f"{quoted(self._options.schema)}.{TABLE}"

    def exists(self, conn: Conn) -> bool:
        row = conn.execute("select to_regclass(%s) is not null", (self.name,)).fetchone()
        return bool(row and row[0])

    def create(self, conn: Conn) -> None:
        if not self.exists(conn):
            conn.execute(self._sql(CREATE))
            if self._options.reader:
                # What the owner makes is the app's to write, by default; this is not.
                reader = quoted(self._options.reader)
                conn.execute(f"revoke insert, update, delete, truncate on {self.name} from {reader}".encode())

    def rows(self, conn: Conn) -> tuple[Row, ...]:
        """Every row by file name; () when there is no table."""
        if not self.exists(conn):
            return ()
        found = conn.execute(self._sql("select " + COLUMNS + ' from {} order by filename collate "C"'))
        return tuple(_row(r) for r in found.fetchall())

    def record(self, conn: Conn, migration: Migration, direction: Direction, seconds: float) -> None:
        """It was applied, or taken back."""
        if direction is Direction.DOWN:
            conn.execute(
                self._sql(
                    "update {} set rolled_back_at = clock_timestamp(), running = null, started_at = null "
                    "where version = %s"
                ),
                (migration.version,),
            )
            return
        self._upsert(
            conn,
            migration,
            {
                "applied_at": "clock_timestamp()",
                "duration": "%(duration)s",
                "rolled_back_at": "null",
                "running": "null",
                "started_at": "null",
            },
            duration=seconds,
        )

    def begin(self, conn: Conn, migration: Migration, direction: Direction) -> None:
        """A statement that no transaction holds is about to run."""
        if direction is Direction.DOWN:
            conn.execute(
                self._sql(
                    "update {} set running = 'down', started_at = clock_timestamp() where version = %s"
                ),
                (migration.version,),
            )
            return
        self._upsert(conn, migration, {"running": "'up'", "started_at": "clock_timestamp()"})

    def end(self, conn: Conn, version: str) -> None:
        """What :meth:`begin` announced came to nothing, and nothing of it is left."""
        conn.execute(self._sql("delete from {} where version = %s and applied_at is null"), (version,))
        conn.execute(
            self._sql("update {} set running = null, started_at = null where version = %s"), (version,)
        )

    def put(self, conn: Conn, row: Row) -> None:
        """A row as it is, for a scratch database."""
        marks = ", ".join(["%s"] * 12)
        conn.execute(
            self._sql("insert into {} (" + COLUMNS + f") values ({marks}) on conflict do nothing"),
            (
                row.version, row.description, row.filename, row.checksum, row.source, row.applied_at,
                row.duration, row.by, row.release, row.rolled_back_at,
                row.running.value if row.running else None, row.started_at,
            ),
        )  # fmt: skip

    def accept(self, conn: Conn, migration: Migration) -> None:
        """The file as it is now counts as what was applied."""
        conn.execute(
            self._sql(
                "update {} set checksum = %s, source = %s, filename = %s, description = %s where version = %s"
            ),
            (
                migration.checksum,
                migration.source,
                migration.filename,
                migration.description,
                migration.version,
            ),
        )

    def forget(self, conn: Conn, version: str) -> None:
        conn.execute(self._sql("delete from {} where version = %s"), (version,))

    def dbmate_versions(self, conn: Conn) -> tuple[str, ...]:
        """What dbmate's table holds; () when there is none."""
        from psycopg import sql

        name = f"{quoted(self._options.schema)}.schema_migrations"
        row = conn.execute(
            "select count(*) = 1 and min(attname) = 'version' from pg_attribute "
            "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
            (name,),
        ).fetchone()
        if not row or not row[0]:
            return ()
        table = sql.Identifier(self._options.schema, "schema_migrations")
        found = conn.execute(sql.SQL("select version from {} order by 1").format(table))
        return tuple(str(r[0]) for r in found.fetchall())

    def _upsert(self, conn: Conn, migration: Migration, set_to: dict[str, str], **values: float) -> None:
        updates = [*(f"{c} = excluded.{c}" for c in OWN_COLUMNS), *(f"{c} = excluded.{c}" for c in set_to)]
        text = (
            UPSERT.replace("{columns}", ", ".join(set_to))
            .replace("{values}", ", ".join(set_to.values()))
            .replace("{updates}", ", ".join(updates))
            .replace("{table}", "{}")
        )
        conn.execute(
            self._sql(text),
            {
                "version": migration.version,
                "description": migration.description,
                "filename": migration.filename,
                "checksum": migration.checksum,
                "source": migration.source,
                "by": self._options.by,
                "release": self._options.release,
                **values,
            },
        )

    def _sql(self, text: str) -> Composed:
        from psycopg import sql

        return sql.SQL(text).format(sql.Identifier(self._options.schema, TABLE))


def _row(values: Sequence[Any]) -> Row:
    *most, running, started_at = values
    return Row(*(*most, Direction(running) if running else None, started_at))


def quoted(name: str) -> str:
    """An identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'
