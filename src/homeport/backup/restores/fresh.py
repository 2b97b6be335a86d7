"""A database beside the one that serves, with the same owner, rights and settings; and the switch between them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import psycopg
from psycopg import sql

from homeport.backup.restores.errors import CANNOT_SWITCH, NO_DATABASE
from homeport.backup.restores.model import Place
from homeport.database.connect import Connection, first_line
from homeport.database.errors import BUSY
from homeport.database.model import SUPERUSER, Provisioned
from homeport.database.pool import Pooler
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

PAUSE = 5.0
"""Seconds that transactions have to end: so long all of the app's requests wait."""
ATTEMPTS = 4
BETWEEN = 1.0
RENAMING = 15.0
LISTS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")
"""Settings whose value is a list that is quoted already."""


class Served(Protocol):
    @property
    def database(self) -> str:
        """Its name at the server."""
        ...


def exists(admin: Connection, name: str) -> bool:
    return admin.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


def make(admin: Connection, row: Provisioned, name: str, roles: Sequence[str]) -> None:
    """Empty, anew; nobody but the superuser comes in. ``roles``: what the copy's database is about."""
    drop(admin, name)
    if not exists(admin, row.database):
        raise NO_DATABASE.error(
            f"cannot bring back {row.label}: {row.database} is not in cluster {row.cluster}",
            hint=f"homeport restore --cluster {row.cluster} brings the whole cluster back",
        )
    known = {r for (r,) in admin.execute("SELECT rolname FROM pg_roles").fetchall()}
    for role in roles:
        if role not in known:
            admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    admin.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' CONNECTION LIMIT 0").format(
            sql.Identifier(name), sql.Identifier(row.owner)
        )
    )


def drop(admin: Connection, name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def give_same_rights(admin: Connection, live: str, name: str) -> None:
    """Who may connect, settings and the limit of connections: what no dump has."""
    with admin.transaction():
        for statement in _rights(admin, live, name):
            admin.execute(statement)


def give_what_may_be(admin: Connection, live: str, name: str) -> list[str]:
    """As :func:`give_same_rights`, by a role that is no superuser; what it may not give, in words."""
    refused = []
    for statement in _rights(admin, live, name):
        try:
            admin.execute(statement)
        except psycopg.Error as e:
            refused.append(f"{statement.as_string(admin)}: {first_line(e)}")
    return refused


def _rights(admin: Connection, live: str, name: str) -> list[sql.Composed]:
    row = admin.execute(
        "SELECT oid, datconnlimit, datacl IS NULL FROM pg_database WHERE datname = %s", (live,)
    ).fetchone()
    assert row is not None
    oid, limit, as_made = row
    target = sql.Identifier(name)
    found = [sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(target)]
    if as_made:
        found.append(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO PUBLIC").format(target))
    granted = admin.execute(
        "SELECT a.privilege_type, a.is_grantable, a.grantee, r.rolname FROM pg_database d, aclexplode(d.datacl) a "
        "LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE d.oid = %s",
        (oid,),
    ).fetchall()
    for privilege, grantable, grantee, role in granted:
        found.append(
            sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                sql.SQL(privilege),
                target,
                sql.Identifier(role) if grantee else sql.SQL("PUBLIC"),
                sql.SQL(" WITH GRANT OPTION" if grantable else ""),
            )
        )
    settings = admin.execute(
        "SELECT r.rolname, unnest(s.setconfig) FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole "
        "WHERE s.setdatabase = %s",
        (oid,),
    ).fetchall()
    for role, setting in settings:
        key, _, value = setting.partition("=")
        whose = (
            sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), target)
            if role
            else sql.SQL("DATABASE {}").format(target)
        )
        is_list = key in LISTS and value
        # As PostgreSQL wrote it: quoted already.
        text: sql.Composable = sql.SQL(value) if is_list else sql.Literal(value)
        found.append(
            sql.SQL("ALTER {} SET {} = {}").format(
                whose, sql.SQL(".").join(map(sql.Identifier, key.split("."))), text
            )
        )
    return [*found, _limiting(name, limit)]


def set_limit(admin: Connection, name: str, limit: int) -> None:
    admin.execute(_limiting(name, limit))


def _limiting(name: str, limit: int) -> sql.Composed:
    return sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(sql.Identifier(name), sql.Literal(limit))


def limit_of(admin: Connection, name: str) -> int | None:
    row = admin.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", (name,)).fetchone()
    return int(row[0]) if row is not None else None


def extensions(past: Connection) -> list[tuple[str, str]]:
    """(extension, owner) of those that others than the superuser own, in the schema public."""
    return past.execute(
        "SELECT e.extname, r.rolname FROM pg_extension e JOIN pg_roles r ON r.oid = e.extowner "
        "JOIN pg_namespace n ON n.oid = e.extnamespace WHERE r.rolname <> %s AND n.nspname = 'public'",
        (SUPERUSER,),
    ).fetchall()


def make_extensions(inside: Connection, wanted: Sequence[tuple[str, str]]) -> None:
    """As their owners. What is not trusted any more is made by the superuser, with the dump."""
    for name, owner in wanted:
        with suppress(psycopg.Error), inside.transaction():
            inside.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(owner)))
            inside.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
            inside.execute(
                sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA public").format(sql.Identifier(name))
            )


def roles_of(past: Connection) -> list[str]:
    """Roles that own or may do something in the database."""
    found = past.execute(
        "SELECT DISTINCT r.rolname FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid "
        "WHERE d.refclassid = 'pg_authid'::regclass AND "
        "d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return [name for (name,) in found.fetchall()]


# The switch


def switch(
    admin: Connection,
    pooler: Pooler | None,
    row: Served,
    place: Place,
    why: dict[str, Any],
    clock: Clock,
) -> dict[str, Any]:
    """The fresh database serves, that before it stays under its new name. Cut off anywhere, it goes on.

    Clients of the pooler wait meanwhile; others lose their connection. Raises ``database.busy``,
    ``restore.cannot_switch``.
    """
    if not exists(admin, place.fresh):
        if not exists(admin, place.before):
            raise CANNOT_SWITCH.error(f"cannot switch to {place.fresh}: it is not there")
        _settle(admin, pooler, row, place, why)
        return {"kept": place.before, "held": None, "cut_off": 0}
    held = clock.monotonic()
    if pooler is not None:
        held = _pause(pooler, row, clock)
    try:
        cut_off = _rename(admin, row.database, place, clock)
        _settle(admin, None, row, place, why)
    except BaseException:
        _undo_limit(admin, row.database, place.fresh)
        raise
    finally:
        if pooler is not None:
            pooler.resume(row.database)
    return {
        "kept": place.before,
        "held": round(clock.monotonic() - held, 3) if pooler is not None else None,
        "cut_off": cut_off,
    }


def put_back(admin: Connection, pooler: Pooler | None, row: Served, place: Place) -> None:
    """Whatever a switch that did not happen left; where it did, what served is known as kept."""
    if not exists(admin, place.fresh) and exists(admin, place.before) and not _note(admin, place.before):
        _settle(admin, None, row, place, {})
    _undo_limit(admin, row.database, place.fresh)
    drop(admin, place.fresh)
    if pooler is not None:
        pooler.resume(row.database)


def _pause(pooler: Pooler, row: Served, clock: Clock) -> float:
    for attempt in range(ATTEMPTS):
        began = clock.monotonic()
        try:
            pooler.pause(row.database, timeout=PAUSE)
            return began
        except HomeportError as e:
            if e.type is not BUSY or attempt == ATTEMPTS - 1:
                raise
        clock.sleep(BETWEEN)
    raise AssertionError


def _rename(admin: Connection, live: str, place: Place, clock: Clock) -> int:
    """Both at once; returns how many connections were ended for it."""
    ended = 0
    deadline = clock.monotonic() + RENAMING
    set_limit(admin, live, 0)
    while True:
        try:
            found = admin.execute(
                "SELECT count(pg_terminate_backend(pid)) FILTER (WHERE backend_type = 'client backend') "
                "FROM pg_stat_activity WHERE datname = ANY(%s) AND pid <> pg_backend_pid()",
                ([live, place.fresh],),
            ).fetchone()
            ended += int(found[0]) if found else 0
            with admin.transaction():
                for old, new in ((live, place.before), (place.fresh, live)):
                    admin.execute(
                        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                            sql.Identifier(old), sql.Identifier(new)
                        )
                    )
            return ended
        except psycopg.Error as e:
            if not isinstance(e, psycopg.errors.ObjectInUse) or clock.monotonic() > deadline:
                raise CANNOT_SWITCH.error(
                    f"cannot switch to what was brought back: {first_line(e)}",
                    hint="try again",
                    details=_whose_sessions(admin, [live, place.fresh]),
                ) from e
            clock.sleep(0.05)


def _whose_sessions(admin: Connection, names: list[str]) -> list[str]:
    with suppress(psycopg.Error):
        found = admin.execute(
            "SELECT format('%%s session(s) of %%s are in %%s', count(*), usename, datname) FROM pg_stat_activity "
            "WHERE datname = ANY(%s) AND pid <> pg_backend_pid() GROUP BY usename, datname ORDER BY 1",
            (names,),
        ).fetchall()
        return [text for (text,) in found]
    return []


def _settle(admin: Connection, pooler: Pooler | None, row: Served, place: Place, why: dict[str, Any]) -> None:
    set_limit(admin, place.before, 0)
    note = json.dumps(
        {"homeport": "before a restore", "app": place.app, "environment": place.environment, "database": place.name,
         "of": row.database, "run": place.run, **why}
    )  # fmt: skip
    admin.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(place.before), sql.Literal(note))
    )
    if pooler is not None:
        pooler.resume(row.database)


def _note(admin: Connection, name: str) -> str:
    row = admin.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (name,)
    ).fetchone()
    return str(row[0] or "") if row is not None else ""


def _undo_limit(admin: Connection, live: str, fresh: str) -> None:
    """A switch that did not come to its end let nobody in any more."""
    with suppress(psycopg.Error):
        wanted = limit_of(admin, fresh)
        if wanted and limit_of(admin, live) == 0:
            set_limit(admin, live, wanted)


# What was kept


def kept(admin: Connection) -> list[dict[str, Any]]:
    """Databases that served until a restore."""
    found = []
    for name, note, size in admin.execute(
        "SELECT datname, shobj_description(oid, 'pg_database'), pg_database_size(oid) FROM pg_database "
        "WHERE datname ~ '_before_[0-9]{8}t[0-9]{6}$' AND has_database_privilege(oid, 'CONNECT') ORDER BY 1"
    ).fetchall():
        try:
            document = json.loads(note or "")
        except ValueError:
            continue
        if isinstance(document, dict) and document.get("homeport") == "before a restore":
            found.append({**document, "name": name, "bytes": size})
    return found
