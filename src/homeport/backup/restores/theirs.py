"""A database on a server that somebody else runs: what its login may do there, and an empty one beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from homeport.backup.restores import fresh
from homeport.backup.restores.errors import NO_DATABASE, NOT_OURS
from homeport.backup.restores.rights import Rights
from homeport.database import attached
from homeport.database.connect import Connection
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret

OTHERS = ("postgres", "template1")
"""Databases that nearly every server has."""
_RIGHTS = """
SELECT current_user, current_setting('server_version_num')::int, d.datname, pg_get_userbyid(d.datdba), r.rolsuper,
r.rolcreatedb, pg_has_role(d.datdba, 'MEMBER'), has_database_privilege(d.oid, 'CREATE')
FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user
"""
_AS = """
SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text,
coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), pg_get_userbyid(datdba)
FROM pg_database d WHERE datname = %s
"""


@dataclass(frozen=True, slots=True)
class Theirs:
    app: str
    environment: str
    name: str
    """In homeport.toml."""
    url: Secret = field(repr=False)
    database: str = ""
    """Its name at the server; "" until somebody asked it."""

    @property
    def label(self) -> str:
        return f"database {self.name} of {self.app} {self.environment}"

    def known(self) -> Theirs:
        """With its name, which a URL need not say."""
        return self if self.database else replace(self, database=rights(self).database)

    @contextmanager
    def inside(self, database: str = "") -> Iterator[Connection]:
        """A connection to it, or to another one of its server, without limits of time. Raises ``database.…``."""
        url = attached.at(self.url, database) if database else self.url
        with attached.connect(url) as connection:
            connection.execute("SET statement_timeout = 0")
            connection.execute("SET idle_session_timeout = 0")
            yield connection

    @contextmanager
    def outside(self) -> Iterator[Connection]:
        """A connection to another database of its server. Raises ``restore.attached_database``."""
        problems: list[str] = []
        with ExitStack() as stack:
            for name in OTHERS:
                if name == self.database:
                    continue
                try:
                    connection = stack.enter_context(self.inside(name))
                    break
                except HomeportError as e:
                    problems += [e.sentence, *e.details]
            else:
                raise NOT_OURS.error(
                    f"cannot take {self.label} back in place: its login comes into no other database of the server",
                    details=problems,
                )
            yield connection


def rights(theirs: Theirs) -> Rights:
    """Looks only. Raises ``database.…`` where the server cannot be reached."""
    with theirs.inside() as connection:
        row = connection.execute(_RIGHTS).fetchone()
    assert row is not None
    found = Rights(*row)
    try:
        with replace(theirs, database=found.database).outside():
            return found
    except HomeportError:
        return replace(found, elsewhere=False)


def make(outside: Connection, theirs: Theirs, name: str) -> None:
    """An empty database as the one that serves, anew; nobody but its owner comes in yet."""
    from psycopg import sql

    fresh.drop(outside, name)
    row = outside.execute(_AS, (theirs.database,)).fetchone()
    if row is None:
        raise NO_DATABASE.error(f"cannot bring back {theirs.label}: {theirs.database} is not at its server")
    encoding, collate, ctype, provider, locale, owner = row
    words = [
        sql.SQL(
            "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}"
        ).format(sql.Identifier(name), sql.Identifier(owner), *map(sql.Literal, (encoding, collate, ctype)))
    ]
    if locale and provider in ("i", "b"):
        kind = "icu" if provider == "i" else "builtin"
        words.append(
            sql.SQL(f" LOCALE_PROVIDER {kind} {kind.upper()}_LOCALE {{}}").format(sql.Literal(locale))
        )
    outside.execute(sql.Composed(words))
    outside.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
