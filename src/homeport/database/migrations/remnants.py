"""What lone statements left behind in the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from homeport.database.migrations.model import Direction, Lone, Migration, Remnant, Row, Seen, Statement
from homeport.database.migrations.plan import to_look_at
from homeport.database.migrations.table import quoted

if TYPE_CHECKING:
    from psycopg import Connection

    Conn = Connection[Any]

BY_TABLE = """
select n.nspname, c.relname, i.indisvalid and i.indisready and i.indislive
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where i.indrelid = to_regclass(%s) and c.relname = %s
"""
BY_NAME = """
select n.nspname, c.relname, i.indisvalid and i.indisready and i.indislive
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where c.oid = to_regclass(%s)
"""
COPIES = r"""
select n.nspname, c.relname
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where not i.indisvalid and c.relname ~ '_cc(new|old)[0-9]*$'
  and (%(table)s::text is null or i.indrelid in (
        select to_regclass(%(table)s)::oid
        union select reltoastrelid from pg_class where oid = to_regclass(%(table)s)
        union select indrelid from pg_index where indexrelid = to_regclass(%(table)s)))
order by 1, 2
"""
"""What REINDEX CONCURRENTLY leaves (PostgreSQL's manual, "Rebuilding Indexes Concurrently")."""
PARTITION = """
select i.inhdetachpending from pg_inherits i
where i.inhparent = to_regclass(%s) and i.inhrelid = to_regclass(%s)
"""


def look(conn: Conn, files: Sequence[Migration], rows: Sequence[Row]) -> Mapping[tuple[str, Direction], Seen]:
    """What there is of each statement that :func:`to_look_at` names."""
    begun = {(r.version, r.running) for r in rows if r.running is not None}
    return {
        (version, direction): look_at(conn, statement, begun=(version, direction) in begun)
        for version, direction, statement in to_look_at(files, rows)
    }


def look_at(conn: Conn, statement: Statement, *, begun: bool) -> Seen:
    """``begun``: the table says that this statement ran, so what looks like its leavings is that."""
    name = _text(statement.name)
    if statement.lone is Lone.CREATE_INDEX:
        row = conn.execute(BY_TABLE, (_text(statement.table), statement.name[1])).fetchone()
        if row is None:
            return Seen(Remnant.ABSENT)
        return Seen(Remnant.PRESENT) if row[2] else Seen(Remnant.INVALID, ((row[0], row[1]),))
    if statement.lone is Lone.DROP_INDEX:
        row = conn.execute(BY_NAME, (name,)).fetchone()
        return Seen(Remnant.PRESENT if row is not None else Remnant.ABSENT)
    if statement.lone is Lone.DETACH:
        row = conn.execute(PARTITION, (_text(statement.table), name)).fetchone()
        if row is None:
            return Seen(Remnant.ABSENT)
        return Seen(Remnant.INVALID if row[0] else Remnant.PRESENT)
    if statement.lone is Lone.REINDEX and begun:
        target = name if statement.name[1] else None
        found = conn.execute(COPIES, {"table": target}).fetchall()
        return Seen(Remnant.PRESENT, tuple((r[0], r[1]) for r in found))
    return Seen(Remnant.ABSENT)


def _text(name: tuple[str, str]) -> str:
    return ".".join(quoted(part) for part in name if part)
