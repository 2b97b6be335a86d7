"""A database beside production's, empty or with its schema, that goes when the work is done."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from homeport.database.migrations.errors import TRIAL_FAILED, UNREACHABLE
from homeport.database.migrations.model import Options
from homeport.database.migrations.session import Target, connect
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.system.process import run

PREFIX = "homeport_scratch_"
STALE = 6 * 3600
"""Seconds after which one that was left behind by a kill is dropped."""
DUMP_SECONDS = 300.0
UNSTABLE = ("\\restrict ", "\\unrestrict ", "-- Dumped ")
"""Lines with a key made by chance, which psql wants, and with versions."""
VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "passfile": "PGPASSFILE",
}
LIKE = (
    "select pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text, "
    "to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale' from pg_database d where datname = current_database()"
)


def environment(target: Target, options: Options) -> dict[str, str]:
    """For libpq's programs: nothing of the URL stands in an argument."""
    parameters = target.parameters()
    env = {name: parameters[key] for key, name in VARIABLES.items() if key in parameters}
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
    """The schema as SQL for a repository: the same text for the same schema.

    ``programs`` is where pg_dump is; it must be no older than the server.
    """
    lines = _dump(target, options, programs).splitlines()
    return "\n".join(line for line in lines if not line.startswith(UNSTABLE)).strip() + "\n"


def _dump(target: Target, options: Options, programs: Path) -> str:
    argv = [
        str(programs / "pg_dump"), "--schema-only", "--no-owner", "--no-comments", "--no-tablespaces",
        "--no-publications", "--no-subscriptions", "--no-security-labels", "--lock-wait-timeout=5000",
    ]  # fmt: skip
    return _run(argv, environment(target, options), "read the schema of", target)


@contextmanager
def scratch(
    production: Target, admin: Target, options: Options, clock: Clock, *, programs: Path | None
) -> Iterator[Target]:
    """A database of its own at ``admin``'s server, whose role may CREATE DATABASE, in production's locale.

    It has production's extensions, and its schema where ``programs`` says where pg_dump and psql are.
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
    _create(admin, plain, name, like, options.owner)
    parameters = {**admin.parameters(), "dbname": name}
    made = Target(_conninfo(parameters))
    try:
        _extend(made, plain, extensions)
        if programs is not None:
            text = _dump(production, options, programs)
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
            _run(argv, environment(made, options), "copy the schema to", made, stdin=text.encode())
        yield made
    finally:
        with suppress(HomeportError):
            _drop(admin, plain, name)


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
            f"cannot make a scratch database at {admin.place}: {admin.mask(e.diag.message_primary or str(e))}",
            hint="the role needs CREATEDB and, where another owns the database, to be a member of that role",
        ) from None


def _extend(made: Target, options: Options, extensions: list[tuple[str, str]]) -> None:
    import psycopg
    from psycopg import sql

    try:
        with connect(made, options) as conn:
            for extension, schema in extensions:
                where = sql.Identifier(schema)
                if schema != "pg_catalog":
                    conn.execute(sql.SQL("create schema if not exists {}").format(where))
                conn.execute(
                    sql.SQL("create extension if not exists {} with schema {}").format(
                        sql.Identifier(extension), where
                    )
                )
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
                "select datname from pg_database where datname ~ %s", (f"^{PREFIX}[0-9]+_",)
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
    except psycopg.Error as e:
        raise UNREACHABLE.error(f"cannot drop {name}: {e.diag.message_primary or type(e).__name__}") from None


def _run(argv: list[str], env: dict[str, str], what: str, target: Target, stdin: bytes = b"") -> str:
    result = run(argv, timeout=DUMP_SECONDS, env=env, cwd=Path("/"), stdin=stdin, check=False)
    if not result.ok:
        raise TRIAL_FAILED.error(
            f"cannot {what} {target.place}: {Path(argv[0]).name} ended with status {result.returncode}",
            hint="its programs must be no older than the server",
            details=[target.mask(line) for line in result.stderr.strip().splitlines()[-5:]],
        )
    return result.stdout
