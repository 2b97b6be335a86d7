"""A database for the time of a proof, at a server of our own. What comes out of a dump is not ours: it is restored
by a role that may come into no other database and is no superuser."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from homeport.backup.files.errors import NO_SCRATCH
from homeport.database import refused
from homeport.kernel.errors import HomeportError

if TYPE_CHECKING:
    from psycopg import Connection

PREFIX = "homeport_proof_"


@dataclass(frozen=True, slots=True)
class Scratch:
    name: str
    admin: dict[str, Any]
    """How the server's superuser reaches it."""
    owner: dict[str, Any] = field(repr=False)
    """How its owner does, with the password."""


@contextmanager
def scratch(admin: str) -> Iterator[Scratch]:
    """``admin``: how a superuser reaches the server, as libpq takes it. Raises ``backup.no_scratch_database``.

    What former ones left that were killed goes first: one proof of dumps is made at a time.
    """
    from psycopg.conninfo import conninfo_to_dict

    parameters = dict(conninfo_to_dict(admin))
    with _connected(parameters) as connection:
        _sweep(connection)
    name = PREFIX + secrets.token_hex(6)
    password = secrets.token_urlsafe(24)
    found = Scratch(name, {**parameters, "dbname": name}, {
        **parameters, "dbname": name, "user": name, "password": password,
    })  # fmt: skip
    try:
        with _connected(parameters) as connection:
            _make(connection, name, password)
        yield found
    finally:
        with suppress(HomeportError), _connected(parameters) as connection:
            _drop(connection, name)


def sweep(admin: str) -> None:
    """Remove what one left that was killed; ``admin`` as for :func:`scratch`. Nobody else uses one meanwhile."""
    from psycopg.conninfo import conninfo_to_dict

    with _connected(dict(conninfo_to_dict(admin))) as connection:
        _sweep(connection)


def connect(parameters: dict[str, Any]) -> Connection[Any]:
    """Raises psycopg.Error."""
    import psycopg

    settings = {"connect_timeout": 10, **parameters, "application_name": "homeport backup"}
    return psycopg.connect(**settings, autocommit=True, prepare_threshold=None)


@contextmanager
def _connected(parameters: dict[str, Any]) -> Iterator[Connection[Any]]:
    import psycopg

    try:
        with connect(parameters) as connection:
            yield connection
    except psycopg.Error as e:
        why = refused.why(e)
        raise NO_SCRATCH.error(
            f"cannot make a database to prove a dump in: {why}", hint="see that the server runs and has room"
        ) from None


def _sweep(connection: Connection[Any]) -> None:
    names = connection.execute(
        "SELECT datname FROM pg_database WHERE datname ~ %(name)s "
        "UNION SELECT rolname FROM pg_roles WHERE rolname ~ %(name)s",
        {"name": f"^{PREFIX}[0-9a-f]{{12}}$"},
    ).fetchall()
    for (name,) in names:
        _drop(connection, name)


def _make(connection: Connection[Any], name: str, password: str) -> None:
    from psycopg import sql

    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 20 PASSWORD {}").format(
            sql.Identifier(name), sql.Literal(verifier.decode())
        )
    )
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(
            sql.Identifier(name), sql.Identifier(name)
        )
    )
    connection.execute(
        sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
    )


def _drop(connection: Connection[Any], name: str) -> None:
    from psycopg import sql

    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def extend(found: Scratch, extensions: tuple[tuple[str, str], ...]) -> None:
    """Have the extensions of a dump: most may only be created by a superuser. Raises psycopg.Error."""
    from psycopg import sql

    with connect(found.admin) as connection:
        for name, schema in extensions:
            if schema != "pg_catalog":
                connection.execute(
                    sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(
                        sql.Identifier(schema), sql.Identifier(found.name)
                    )
                )
            connection.execute(
                sql.SQL("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}").format(
                    sql.Identifier(name), sql.Identifier(schema)
                )
            )
