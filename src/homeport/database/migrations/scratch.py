"""A database beside production's, empty or with its schema, that goes when the work is done.

Where ``admin`` is another login than production's, it is a server of our own: then the scratch database has an
owner of its own, who may come into no other one. What is tried has not been approved yet.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from homeport.database import refused
from homeport.database.migrations.errors import TRIAL_FAILED, UNREACHABLE
from homeport.database.migrations.model import OWN_SCHEMA, TABLE, Options
from homeport.database.migrations.session import Target, connect
from homeport.database.urls import LIBPQ
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.system.process import run

PREFIX = "homeport_scratch_"
STALE = 6 * 3600
"""Seconds after which one that was left behind by a kill is dropped."""
DUMP_SECONDS = 300.0
UNSTABLE = ("\\restrict ", "\\unrestrict ", "-- Dumped ")
"""Lines with a key made by chance, which psql wants, and with versions."""
OUR_EXTENSIONS = re.compile(
    rf"^--\n-- Name: [^\n]*; Type: EXTENSION;[^\n]*\n--\n\nCREATE EXTENSION [^\n]* WITH SCHEMA {OWN_SCHEMA};\n+",
    re.MULTILINE,
)
LIKE = (
    "select pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text, "
    "to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale' from pg_database d where datname = current_database()"
)


def environment(target: Target, options: Options) -> dict[str, str]:
    """For libpq's programs: nothing of the URL stands in an argument."""
    parameters = target.parameters()
    env = {name: parameters[key] for key, name in LIBPQ.items() if key in parameters}
    env |= {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "PGCONNECT_TIMEOUT": "10",
        "PGAPPNAME": "homeport scratch",
    }
    if options.owner:
        env["PGOPTIONS"] = f"-c role={_escaped(options.owner)}"
    return env


def _escaped(value: str) -> str:
    """For PGOPTIONS, which splits at blanks."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def dump(target: Target, options: Options, programs: Path) -> str:
    """The schema as SQL for a repository: the same text for the same schema, in every environment.

    So without roles and their rights, and without what is Homeport's own.

    ``programs`` is where pg_dump is; it must be no older than the server.
    """
    text = _dump(target, options, programs, "--no-privileges", f"--exclude-table=*.{TABLE}")
    lines = OUR_EXTENSIONS.sub("", text).splitlines()
    return "\n".join(line for line in lines if not line.startswith(UNSTABLE)).strip() + "\n"


def _dump(target: Target, options: Options, programs: Path, *more: str) -> str:
    argv = [
        str(programs / "pg_dump"), "--schema-only", "--no-owner", "--no-comments", "--no-tablespaces",
        "--no-publications", "--no-subscriptions", "--no-security-labels", "--lock-wait-timeout=5000",
        f"--exclude-schema={OWN_SCHEMA}", *more,
    ]  # fmt: skip
    return _run(argv, environment(target, options), "read the schema of", target)


@contextmanager
def scratch(
    production: Target, admin: Target, options: Options, clock: Clock, *, programs: Path | None
) -> Iterator[Target]:
    """A database of its own at ``admin``'s server, whose role may CREATE DATABASE, in production's locale.

    It has production's extensions, and its schema where ``programs`` says where pg_dump and psql are. What comes
    out reaches it as the one who is to migrate it: :func:`is_apart` says whether ``options.owner`` is still to be
    taken on.
    """
    name = f"{PREFIX}{int(clock.now().timestamp())}_{secrets.token_hex(4)}"
    plain = Options(statement_timeout=60, lock_timeout=10)
    with connect(production, plain) as conn:
        like = conn.execute(LIKE).fetchone()
        extensions = [
            (r[0], r[1])
            for r in conn.execute(
                "select extname, nspname from pg_extension join pg_namespace n on n.oid = extnamespace "
                "where extname <> 'plpgsql' order by pg_extension.oid"
            ).fetchall()
        ]
    assert like is not None
    _sweep(admin, plain, clock)
    parameters = {**admin.parameters(), "dbname": name}
    by_admin = Target(_conninfo(parameters))
    apart = is_apart(production, admin)
    own = replace(options, owner="" if apart else options.owner)
    password = secrets.token_urlsafe(24)
    made = Target(_conninfo({**parameters, "user": name, "password": password})) if apart else by_admin
    try:
        if apart:
            _login(admin, plain, name, password)
        _create(admin, plain, name, like, name if apart else options.owner)
        _extend(made, by_admin, plain, extensions)
        if programs is not None:
            text = _dump(production, options, programs, *(("--no-privileges",) if apart else ()))
            argv = [
                str(programs / "psql"),
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "--single-transaction",
                "-f",
                "-",
            ]
            _run(argv, environment(made, own), "copy the schema to", made, stdin=text.encode())
        yield made
    finally:
        with suppress(HomeportError):
            _drop(admin, plain, name)


def is_apart(production: Target, admin: Target) -> bool:
    """Whether a scratch database has an owner of its own, with no way into production."""
    return production.parameters().get("user") != admin.parameters().get("user")


def _login(admin: Target, options: Options, name: str, password: str) -> None:
    import psycopg
    from psycopg import sql

    try:
        with connect(admin, options) as conn:
            verifier = conn.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
            conn.execute(
                sql.SQL("create role {} login connection limit 20 password {}").format(
                    sql.Identifier(name), sql.Literal(verifier.decode())
                )
            )
    except psycopg.Error as e:
        raise TRIAL_FAILED.error(
            f"cannot make a role for a scratch database: {e.diag.message_primary or type(e).__name__}"
        ) from None


def _conninfo(parameters: Mapping[str, str]) -> str:
    from psycopg.conninfo import make_conninfo

    return make_conninfo("", **parameters)


def _create(admin: Target, options: Options, name: str, like: tuple[Any, ...], owner: str) -> None:
    import psycopg
    from psycopg import sql

    encoding, collate, ctype, provider, icu, locale = like
    text = sql.SQL("create database {} template template0 encoding {} lc_collate {} lc_ctype {}").format(
        sql.Identifier(name), sql.Literal(encoding), sql.Literal(collate), sql.Literal(ctype)
    )
    if provider == "i":
        text += sql.SQL(" locale_provider icu icu_locale {}").format(sql.Literal(icu or locale))
    if owner:
        text += sql.SQL(" owner {}").format(sql.Identifier(owner))
    try:
        with connect(admin, options) as conn:
            conn.execute(text)
    except psycopg.Error as e:
        raise TRIAL_FAILED.error(
            f"cannot make a scratch database at {admin.place}: {admin.mask(refused.why(e))}",
            hint="the role needs CREATEDB and, where another owns the database, to be a member of that role",
        ) from None


def _extend(made: Target, admin: Target, options: Options, extensions: list[tuple[str, str]]) -> None:
    """By the owner where that may, as in production, so that migrations may take them away again."""
    import psycopg
    from psycopg import sql

    try:
        with connect(made, options) as own, connect(admin, options) as admins:
            for extension, schema in extensions:
                where = sql.Identifier(schema)
                make = sql.SQL("create extension if not exists {} with schema {}").format(
                    sql.Identifier(extension), where
                )
                by = admins if schema == OWN_SCHEMA else own
                if schema != "pg_catalog":
                    by.execute(sql.SQL("create schema if not exists {}").format(where))
                try:
                    by.execute(make)
                except psycopg.errors.InsufficientPrivilege:
                    admins.execute(make)
    except psycopg.Error as e:
        raise TRIAL_FAILED.error(
            f"cannot give a scratch database its extensions: {e.diag.message_primary or type(e).__name__}",
            hint="try with a role that may create them",
        ) from None


def _sweep(admin: Target, options: Options, clock: Clock) -> None:
    """Drop scratch databases that a kill left behind."""
    now = clock.now().timestamp()
    with connect(admin, options) as conn:
        names = [
            r[0]
            for r in conn.execute(
                "select datname from pg_database where datname ~ %(name)s "
                "union select rolname from pg_roles where rolname ~ %(name)s",
                {"name": f"^{PREFIX}[0-9]+_"},
            )
        ]
    for name in names:
        if now - int(name.removeprefix(PREFIX).split("_")[0]) > STALE:
            with suppress(HomeportError):
                _drop(admin, options, name)


def _drop(admin: Target, options: Options, name: str) -> None:
    import psycopg
    from psycopg import sql

    try:
        with connect(admin, options) as conn:
            conn.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
            conn.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))
    except psycopg.Error as e:
        raise UNREACHABLE.error(f"cannot drop {name}: {e.diag.message_primary or type(e).__name__}") from None


def _run(argv: list[str], env: dict[str, str], what: str, target: Target, stdin: bytes = b"") -> str:
    result = run(argv, timeout=DUMP_SECONDS, env=env, cwd=Path("/"), stdin=stdin, check=False)
    if not result.ok:
        raise TRIAL_FAILED.error(
            f"cannot {what} {target.place}: {Path(argv[0]).name} ended with status {result.returncode}",
            hint="its programs must be no older than the server",
            details=[target.mask(line) for line in refused.lines_of(result.stderr)[-5:]],
        )
    return result.stdout
