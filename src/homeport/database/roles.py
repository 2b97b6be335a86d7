"""Roles, a database and their rights: applies the steps of ``plan`` to a server."""

import secrets

import psycopg
from psycopg import sql

from homeport.database import scram
from homeport.database.connect import Connection
from homeport.database.errors import NO_EXTENSION
from homeport.database.model import SUPERUSER, Provisioned
from homeport.database.plan import Seen, Step
from homeport.database.sizing import UPKEEP

SCHEMA = "homeport"
"""For what the superuser keeps in an app's database; nobody else may look into it."""
CLOSING = 2


def new_password() -> str:
    """192 bits, in characters that mean nothing in a URL."""
    return secrets.token_urlsafe(24)


def roles_of(row: Provisioned) -> list[str]:
    return [row.owner, row.role, row.login_role("a"), row.login_role("b"), row.migrator, row.reader]


def look(connection: Connection, row: Provisioned, password: str) -> Seen:
    """``password``: the one that the app's login should have."""
    found = connection.execute(
        "SELECT rolname, rolcanlogin, rolpassword FROM pg_authid WHERE rolname = ANY(%s)", (roles_of(row),)
    ).fetchall()
    database = connection.execute("SELECT FROM pg_database WHERE datname = %s", (row.database,)).fetchone()
    return Seen(
        {name: bool(login) and scram.matches(verifier, password) for name, login, verifier in found},
        database is not None,
        frozenset(name for name, login, verifier in found if login or verifier is not None),
    )


def verifiers(connection: Connection, row: Provisioned) -> dict[str, str]:
    """Of the app's logins that are valid, by role."""
    logins = [row.login_role("a"), row.login_role("b")]
    found = connection.execute(
        "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY(%s) AND rolcanlogin "
        "AND rolpassword LIKE 'SCRAM-SHA-256$%%'",
        (logins,),
    )
    return dict(found.fetchall())


def make_role(connection: Connection, row: Provisioned, role: str) -> None:
    member = {row.login_role("a"): row.role, row.login_role("b"): row.role, row.migrator: row.owner}.get(role)
    of = sql.SQL(" IN ROLE {}").format(sql.Identifier(member)) if member else sql.SQL("")
    connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN{}").format(sql.Identifier(role), of))


def make_database(connection: Connection, row: Provisioned) -> None:
    """Nobody but the superuser comes in until the rights are given."""
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' CONNECTION LIMIT 0").format(
            sql.Identifier(row.database), sql.Identifier(row.owner)
        )
    )


def give_rights(connection: Connection, row: Provisioned) -> None:
    """``connection`` is the superuser's, in the database itself."""
    statements = (
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        "GRANT CONNECT ON DATABASE {database} TO {role}",
        "ALTER SCHEMA public OWNER TO {owner}",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "GRANT USAGE ON SCHEMA public TO {role}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE ON SCHEMAS TO {role}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO {role}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON ROUTINES FROM PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT EXECUTE ON ROUTINES TO {role}",
        "ALTER ROLE {migrator} IN DATABASE {database} SET role = {owner}",
        "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {superuser}",
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA {schema}",
    )
    names = {
        "database": row.database,
        "role": row.role,
        "owner": row.owner,
        "migrator": row.migrator,
        "schema": SCHEMA,
        "superuser": SUPERUSER,
    }
    identifiers = {key: sql.Identifier(name) for key, name in names.items()}
    with connection.transaction():
        for statement in statements:
            connection.execute(sql.SQL(statement).format(**identifiers))


def make_reader(connection: Connection, row: Provisioned) -> None:
    """The role that may read every table that is there now, and nothing else. ``connection`` is the superuser's, in
    the database itself.

    Not by way of ``pg_read_all_data``, which reads passwords of other apps' roles in a cluster that they share.
    """
    names = {"reader": sql.Identifier(row.reader), "database": sql.Identifier(row.database)}
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (row.reader,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {reader} NOLOGIN CONNECTION LIMIT 3").format(**names))
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {database} TO {reader}").format(**names))
    connection.execute(
        sql.SQL("ALTER ROLE {reader} IN DATABASE {database} SET default_transaction_read_only = on").format(
            **names
        )
    )
    schemas = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', %s)",
        (SCHEMA,),
    ).fetchall()
    for (schema,) in schemas:
        for what in (
            "USAGE ON SCHEMA",
            "SELECT ON ALL TABLES IN SCHEMA",
            "SELECT ON ALL SEQUENCES IN SCHEMA",
        ):
            connection.execute(
                sql.SQL("GRANT {what} {schema} TO {reader}").format(
                    what=sql.SQL(what), schema=sql.Identifier(schema), reader=names["reader"]
                )
            )


def make_extensions(connection: Connection, row: Provisioned) -> None:
    """As the database's owner, who may then drop them again. Raises ``database.no_extension``."""
    for name in row.extensions:
        try:
            with connection.transaction():
                connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(row.owner)))
                connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as e:
            raise NO_EXTENSION.error(
                f'cannot make {row.label}: extension "{name}" is not on this machine',
                hint="install its package; Debian's postgresql brings those of PostgreSQL itself",
            ) from e
        except psycopg.errors.InsufficientPrivilege as e:
            raise NO_EXTENSION.error(
                f'cannot make {row.label}: extension "{name}" is for superusers only',
                hint="leave it out of extensions",
            ) from e


def set_password(connection: Connection, role: str, password: str, *, until: str | None = None) -> None:
    """What goes over the wire is a verifier. ``until``: a time in ISO 8601 after which it is not valid."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL {}").format(
            sql.Identifier(role), sql.Literal(verifier.decode()), sql.Literal(until or "infinity")
        )
    )


def forget_password(connection: Connection, role: str) -> None:
    connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(role)))


def lock(connection: Connection, role: str) -> None:
    """Take away its password, and its connections."""
    forget_password(connection, role)
    connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,))


def set_limits(connection: Connection, row: Provisioned, size: int) -> None:
    """``size``: the app's connections; two more for those that a pooler has closed and the server has not."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(
            sql.Identifier(row.database), sql.Literal(size + UPKEEP)
        )
    )
    for login in ("a", "b"):
        connection.execute(
            sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(
                sql.Identifier(row.login_role(login)), sql.Literal(size + CLOSING)
            )
        )


def drop(connection: Connection, row: Provisioned) -> None:
    """The database, those that restores have kept of it, whoever is in them, and its roles. Each may be gone
    already."""
    kept = connection.execute(
        "SELECT d.datname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE r.rolname = %s",
        (row.owner,),
    ).fetchall()
    for name in dict.fromkeys((row.database, *(name for (name,) in kept))):
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    for role in reversed(roles_of(row)):
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def apply(connection: Connection, step: Step, row: Provisioned, password: str, size: int) -> None:
    """``connection`` is the superuser's, in the database postgres; ``rights`` is applied by the service."""
    match step.kind:
        case "role":
            make_role(connection, row, step.role)
        case "database":
            make_database(connection, row)
        case "password":
            set_password(connection, step.role, password)
        case "lock":
            lock(connection, step.role)
        case "limit":
            set_limits(connection, row, size)
        case _:
            raise ValueError(step.kind)
