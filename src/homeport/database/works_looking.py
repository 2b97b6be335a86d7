"""Looking at databases, and their upkeep, as pieces of work for a child.

A request names the database: ``engine``; ``admin`` is the superuser's connection of one that Homeport made, ``url``
that of its owner or of one that is attached; ``storage`` and ``path`` are a SQLite file's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret

if TYPE_CHECKING:
    import psycopg

    from homeport.database.insight.growth import Sizes
    from homeport.database.insight.model import Report
    from homeport.database.sqlite.file import SqliteFile
    from homeport.database.works import Say

    Connection = psycopg.Connection[Any]

Request = Mapping[str, Any]
GROWTH = "growth"
"""The rule that rests on sizes of another day."""


def servers(request: Request, say: Say, clock: Clock) -> Any:
    """How servers, poolers and attached databases answer, by the keys they were asked for with.

    ``servers``: the superuser's connections; ``poolers``: the administrator's; ``attached``: URLs. What cannot be
    reached has a ``problem``.
    """
    return {
        "servers": {key: _told(lambda dsn=dsn: _server(dsn)) for key, dsn in request["servers"].items()},
        "poolers": {key: _told(lambda dsn=dsn: _pooler(dsn)) for key, dsn in request["poolers"].items()},
        "attached": {key: _told(lambda url=url: _attached(url)) for key, url in request["attached"].items()},
    }


def sizes(request: Request, say: Say, clock: Clock) -> Any:
    """Every table with its indexes, the largest first; ``exact`` is False where they are of the last VACUUM."""
    if request["engine"] == "sqlite":
        from homeport.database.sqlite.file import SqliteFile

        return _sqlite_sizes(SqliteFile(Path(request["storage"]), request["path"]))
    from psycopg import errors
    from psycopg.rows import dict_row

    from homeport.database.insight.service import MARK

    with _connect(request) as connection:
        total = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert total is not None
        query = MARK.encode() + files("homeport.database").joinpath("sizes.sql").read_bytes()
        with connection.cursor(row_factory=dict_row) as cursor:
            try:
                with connection.transaction():
                    cursor.execute("SET LOCAL lock_timeout = '300ms'")
                    rows = cursor.execute(query, {"exact": True}).fetchall()
                exact = True
            except errors.LockNotAvailable:
                rows, exact = cursor.execute(query, {"exact": False}).fetchall(), False
    return {"bytes": total[0], "exact": exact, "tables": rows}


def insight(request: Request, say: Say, clock: Clock) -> Any:
    """The report, as :meth:`homeport.database.insight.model.Report.to_json` has it. ``rules``: those asked for, or
    null. ``planner``: a connection of the app's role. ``before``: sizes of another day, or null."""
    from homeport.database.insight import service
    from homeport.database.insight.growth import Sizes, growth
    from homeport.database.insight.model import Skipped

    asked = request["rules"]
    rules = asked if asked is None else [r for r in asked if r != GROWTH]
    with _connect(request) as connection, _planner(request) as planner:
        report = service.report(connection, only=rules, planner=planner)
        if asked is None or GROWTH in asked:
            before = request["before"]
            after = service.snapshot(connection)
            found = tuple(growth(Sizes.from_json(before), after)) if before else ()
            report = replace(report, findings=(*report.findings, *found), rules=(*report.rules, GROWTH))
            if not before:
                why = "no size of another day is known yet"
                report = replace(report, skipped=(*report.skipped, Skipped(GROWTH, why)))
            return _plain(report, after, Sizes.from_json(before) if before else None)
    return _plain(report, None, None)


def snapshot(request: Request, say: Say, clock: Clock) -> Any:
    """Sizes of now, as :class:`homeport.database.insight.growth.Sizes` has them."""
    from homeport.database.insight import service

    with _connect(request) as connection:
        return service.snapshot(connection).to_json()


def upkeep(request: Request, say: Say, clock: Clock) -> Any:
    """Run the upkeep of the request, as the owner. Gives an :class:`~homeport.database.upkeep.model.Outcome`."""
    from homeport.database.upkeep import service
    from homeport.spec.model_database import Upkeep

    wanted = Upkeep(**request["upkeep"])
    with _connect({"url": request["url"]}) as connection:
        return service.run(connection, wanted, clock).to_json()


def _plain(report: Report, after: Sizes | None, before: Sizes | None) -> dict[str, Any]:
    found = report.to_json()
    if after is not None and before is not None:
        found["growth"] = {"since": before.at.isoformat(), "before": before.bytes, "now": after.bytes}
    else:
        found["growth"] = None
    for query in found["queries"]:
        if query["plan"] is not None:
            query["plan"] = query["plan"]["Plan"]
    return found


def _told(look: Any) -> dict[str, Any]:
    try:
        return dict(look())
    except HomeportError as e:
        return {"problem": e.sentence, "hint": e.hint}


@contextmanager
def _connect(request: Request) -> Iterator[Connection]:
    """The superuser's where there is one, else the URL's; each statement a transaction of its own."""
    if "admin" in request:
        with _by_socket(request["admin"]) as connection:
            yield connection
        return
    from homeport.database import attached

    with attached.connect(Secret(request["url"])) as connection:
        yield connection


@contextmanager
def _planner(request: Request) -> Iterator[Connection | None]:
    """A connection that plans; None where there is none, or it cannot be made just now."""
    url = request.get("planner")
    if not url:
        yield None
        return
    import psycopg

    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="homeport")
    except psycopg.Error:
        yield None
        return
    with connection:
        yield connection


@contextmanager
def _by_socket(dsn: str) -> Iterator[Connection]:
    import psycopg

    from homeport.database.connect import not_answering

    try:
        connection = psycopg.connect(dsn, autocommit=True, connect_timeout=5, application_name="homeport")
    except psycopg.Error as e:
        raise not_answering("the server", e, hint=_way_on(dsn, "postgresql")) from None
    with connection:
        yield connection


def _way_on(dsn: str, program: str) -> str:
    """Of a cluster of ours: its socket's directory tells which one."""
    from homeport.database.connect import NO_WAY, layout_of, way_on

    layout = layout_of(dsn)
    return way_on(layout, f"{program}.{layout.cluster}") if layout else NO_WAY


def _server(dsn: str) -> dict[str, Any]:
    with _by_socket(dsn) as connection:
        rows = connection.execute(
            "SELECT d.datname, pg_database_size(d.oid), d.datconnlimit, "
            "(SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid AND a.backend_type = 'client backend' "
            "AND a.usename <> current_user) FROM pg_database d WHERE NOT d.datistemplate"
        ).fetchall()
        most = connection.execute("SELECT current_setting('max_connections')::int").fetchone()
        assert most is not None
        version = connection.info.server_version
    found = {name: {"bytes": size, "limit": limit, "used": used} for name, size, limit, used in rows}
    return {"databases": found, "most": most[0], "version": version}


def _pooler(dsn: str) -> dict[str, Any]:
    import psycopg

    from homeport.database.connect import not_answering

    try:
        console = psycopg.connect(
            dsn,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=5,
            cursor_factory=psycopg.ClientCursor,
        )
        try:
            held = [row["name"] for row in _rows(console, "SHOW DATABASES") if str(row["paused"]) == "1"]
            pools = _rows(console, "SHOW POOLS")
        finally:
            console.close()
    except psycopg.Error as e:
        raise not_answering("the pooler", e, hint=_way_on(dsn, "pgbouncer")) from None
    clients: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for row in pools:
        name = str(row["database"])
        clients[name] = clients.get(name, 0) + int(row["cl_active"]) + int(row["cl_waiting"])
        waiting[name] = waiting.get(name, 0) + int(row["cl_waiting"])
    return {"held": held, "clients": clients, "waiting": waiting}


def _rows(console: Connection, command: str) -> list[dict[str, Any]]:
    cursor = console.execute(command.encode())
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _attached(url: str) -> dict[str, Any]:
    from homeport.database import attached

    with attached.connect(Secret(url)) as connection:
        row = connection.execute(
            "SELECT current_database(), pg_database_size(current_database()), current_setting('max_connections')::int, "
            "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())"
        ).fetchone()
        assert row is not None
        version = connection.info.server_version
    return {
        "database": row[0],
        "bytes": row[1],
        "limit": row[2],
        "used": row[3],
        "version": version,
        "where": attached.where(attached.parameters(Secret(url))),
    }


def _sqlite_sizes(file: SqliteFile) -> dict[str, Any]:
    """By ``dbstat`` where this SQLite has it, else the file alone."""
    path = file.path
    with file.acting():
        beside = (path, path.with_name(f"{path.name}-wal"))
        total = sum(p.stat().st_size for p in beside if p.is_file())
    if not total:
        return {"bytes": 0, "exact": True, "tables": []}
    with file.connect() as connection:
        names = file.run(connection, "SELECT name, tbl_name, type FROM sqlite_schema")
        try:
            found = file.run(connection, "SELECT name, sum(pgsize) FROM dbstat GROUP BY name")
            stat = {str(name): size for name, size in found}
        except HomeportError:
            stat = {}
    tables = []
    for name, _, kind in names:
        if kind != "table":
            continue
        indexes = [
            {"name": index, "bytes": stat.get(str(index))}
            for index, of, k in names
            if k == "index" and of == name
        ]
        size = stat.get(str(name))
        tables.append({"name": name, "kind": kind, "rows": None, "bytes": size, "indexes": indexes})
    tables.sort(key=_with_indexes, reverse=True)
    return {"bytes": total, "exact": bool(stat) or not tables, "tables": tables}


def _with_indexes(table: Mapping[str, Any]) -> int:
    return sum(int(x["bytes"] or 0) for x in (table, *table["indexes"]))
