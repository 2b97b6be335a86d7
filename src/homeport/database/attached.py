"""Databases that somebody else runs: whether one can be used, and exactly why not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg import conninfo

from homeport.database import refused
from homeport.database.errors import (
    BAD_URL,
    NO_DATABASE,
    NO_RIGHTS,
    NOT_HERE,
    READ_ONLY,
    REFUSED,
    TLS_REFUSED,
    TOO_OLD,
    UNREACHABLE,
    WRONG_PASSWORD,
)
from homeport.database.machine import OLDEST
from homeport.database.model import Attached
from homeport.kernel.errors import ErrorType, HomeportError
from homeport.kernel.secret import Secret

TIMEOUT = 5
_WHY: tuple[tuple[ErrorType, str, str], ...] = (
    (
        WRONG_PASSWORD,
        "password authentication failed",
        "set the secret to a URL with the right name and password",
    ),
    (WRONG_PASSWORD, "no password supplied", "the URL holds no password"),
    (WRONG_PASSWORD, 'role "', "the server knows no such login"),
    (NO_DATABASE, 'database "', "make it there, or correct the end of the URL"),
    (TLS_REFUSED, "does not support SSL", "the URL asks for TLS (sslmode) and the server has none"),
    (TLS_REFUSED, "certificate", "sslrootcert names the authority that signed the server's certificate"),
    (TLS_REFUSED, "SSL error", "the server and this machine agree on no version of TLS"),
    (TLS_REFUSED, "SSL off", "the server wants TLS: add sslmode=require to the URL"),
    (TLS_REFUSED, "no encryption", "the server wants TLS: add sslmode=require to the URL"),
    (UNREACHABLE, "could not translate host name", "no such host"),
    (UNREACHABLE, "failed to resolve host", "no such host"),
    (UNREACHABLE, "Connection refused", "nothing listens there"),
    (UNREACHABLE, "timeout expired", "nothing answers there: a firewall may drop it"),
    (UNREACHABLE, "No route to host", "the network does not lead there"),
    (UNREACHABLE, "Network is unreachable", "the network does not lead there"),
    (UNREACHABLE, "No such file or directory", "there is no such unix socket"),
    (UNREACHABLE, "server closed the connection unexpectedly", "what listens there may not be PostgreSQL"),
    (UNREACHABLE, "received invalid response", "what listens there is not PostgreSQL"),
    (UNREACHABLE, "expected authentication request", "what listens there is not PostgreSQL"),
)


def parameters(url: Secret) -> dict[str, Any]:
    """What a URL says, as libpq reads it. Raises ``database.bad_url``, which does not repeat it."""
    text = url.reveal()
    hint = "postgresql://NAME:PASSWORD@HOST:PORT/DATABASE, with % signs for special characters"
    if not text.startswith(("postgresql://", "postgres://")):
        raise BAD_URL.error("cannot read the URL: it does not begin with postgresql://", hint=hint)
    try:
        found: dict[str, Any] = conninfo.conninfo_to_dict(text)
        text.encode("utf-8")
    except (psycopg.Error, UnicodeError):
        # What libpq says of it repeats parts of it.
        raise BAD_URL.error("cannot read the URL: it is not one of PostgreSQL's", hint=hint) from None
    if not found.get("host") and not found.get("hostaddr"):
        raise BAD_URL.error("cannot read the URL: it names no host", hint=hint)
    return found


def at(url: Secret, database: str) -> Secret:
    """The URL of another database of the same server, by the same login."""
    found = {key: str(value) for key, value in parameters(url).items() if value is not None}
    return Secret("postgresql:///?" + urlencode({**found, "dbname": database}, quote_via=quote, safe=""))


def where(found: dict[str, Any]) -> str:
    """Host, port and database, without who and how."""
    return f"{found.get('host') or found.get('hostaddr')}:{found.get('port') or 5432}/{found.get('dbname') or ''}"


def check(url: Secret) -> Attached:
    """Look whether migrations and an app can work with it; changes nothing.

    Raises ``database.bad_url``, ``.unreachable``, ``.wrong_password``, ``.no_database``, ``.tls_refused``,
    ``.refused``, ``.too_old``, ``.read_only`` or ``.no_rights``.
    """
    with connect(url) as connection:
        return _look(connection, parameters(url))


@contextmanager
def connect(url: Secret) -> "Iterator[psycopg.Connection[tuple[Any, ...]]]":
    """A connection, each statement a transaction of its own. Raises as :func:`check` for what the server says to
    that, and to what is done within."""
    found = parameters(url)
    settings = {"connect_timeout": TIMEOUT, "application_name": "homeport", **found}
    try:
        connection = psycopg.connect(**settings, autocommit=True, prepare_threshold=None)
    except psycopg.Error as e:
        raise _refusal(e, found) from None
    except UnicodeError:
        raise UNREACHABLE.error(f"cannot reach {where(found)}: no such host") from None
    try:
        with connection:
            yield connection
    except psycopg.Error as e:
        raise _refusal(e, found) from None


def _look(connection: "psycopg.Connection[tuple[Any, ...]]", found: dict[str, Any]) -> Attached:
    place = where(found)
    version = connection.info.server_version
    if version < OLDEST * 10000:
        raise TOO_OLD.error(
            f"cannot use {place}: it runs PostgreSQL {_plain(version)}, and Homeport needs {OLDEST} or newer",
            hint="upgrade it, or attach another",
        )
    row = connection.execute(
        "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool, current_user, "
        "current_database(), pg_database_size(current_database()), "
        "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user), "
        "has_database_privilege(current_database(), 'CREATE'), "
        "coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'public'), false), "
        "coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)"
    ).fetchone()
    assert row is not None
    standby, read_only, role, database, size, superuser, may_create, may_in_public, tls = row
    if standby:
        raise READ_ONLY.error(
            f"cannot use {place}: it is a standby and takes no writes", hint="attach the primary server"
        )
    if read_only:
        raise READ_ONLY.error(
            f"cannot use {place}: its transactions are read-only",
            hint=f'ALTER ROLE "{role}" SET default_transaction_read_only = off',
        )
    if not (may_create or may_in_public):
        raise NO_RIGHTS.error(
            f'cannot use {place}: "{role}" may not make tables there',
            hint=f'GRANT CREATE ON SCHEMA public TO "{role}"',
        )
    return Attached(version, database, role, size, bool(superuser), bool(tls))


def _plain(version: int) -> str:
    return f"{version // 10000}.{version % 10000}"


def _refusal(error: Exception, found: dict[str, Any]) -> HomeportError:
    """What libpq or the server says, as an error of ours, without the password."""
    sent = getattr(getattr(error, "diag", None), "message_primary", None)
    text = refused.why(error) if sent else str(error)
    for key in ("password", "sslpassword"):
        if found.get(key):
            text = text.replace(str(found[key]), "***")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    place = where(found)
    for type_, words, hint in _WHY:
        if words in text and (not words.endswith('"') or "does not exist" in text):
            if type_ is WRONG_PASSWORD:
                sentence = f'cannot log in to {place} as "{found.get("user", "")}"'
            elif type_ is NO_DATABASE:
                sentence = f'cannot use {place}: the server has no database "{found.get("dbname", "")}"'
            elif type_ is TLS_REFUSED:
                sentence = f"cannot agree on TLS with {place}"
            else:
                sentence = f"cannot reach {place}"
            return type_.error(sentence, hint=hint, details=lines[-2:])
    return REFUSED.error(
        f"cannot use {place}: {lines[-1] if lines else 'it refuses the connection'}",
        hint="the server's own log says more",
        details=lines[:-1][-3:],
    )


def refuse(what: str, why: str) -> HomeportError:
    """For what needs a server's own files or its superuser: ``what`` begins with a verb."""
    return NOT_HERE.error(
        f"cannot {what}: {why}, and somebody else runs this database",
        hint="ask who runs it, or let Homeport provision one: leave out url",
    )
