"""Names of databases and clusters, and what to do to a server so that a database is there. Pure."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from homeport.database.model import MAIN, Provisioned

LONGEST = 63 - len("_migrate")
"""Bytes of a database's name: PostgreSQL takes 63 for the longest of its roles."""
HASH = 8


def _hash(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:HASH]


def database_name(app: str, environment: str, name: str, taken: Collection[str] = ()) -> str:
    """``<app>_<environment>``, and ``_<name>`` unless it is main, with _ for hyphens.

    With a hash at its end where it would be too long, or where another one (a-b in c, a in b-c) has it.
    """
    parts = (app, environment) if name == "main" else (app, environment, name)
    plain = "_".join(parts).replace("-", "_")
    if plain.startswith("pg_"):
        plain = f"app_{plain}"  # PostgreSQL keeps pg_ for its own roles
    if len(plain) > LONGEST or plain in taken:
        plain = f"{plain[: LONGEST - HASH - 1].rstrip('_')}_{_hash(app, environment, name)}"
    return plain


def cluster_name(app: str, environment: str, name: str, *, dedicated: bool) -> str:
    """15 bytes at most: it is part of a unix socket's path."""
    return f"{app[:6].rstrip('-')}-{_hash(app, environment, name)}" if dedicated else MAIN


def other(login: str) -> str:
    return "b" if login == "a" else "a"


@dataclass(frozen=True, slots=True)
class Step:
    """``role``: make it. ``database``: make it. ``rights``: in it. ``password``: the role logs in with the
    secret's. ``lock``: the role logs in no more. ``open``: the app may connect. ``limit``: connections."""

    kind: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server has of a database. ``roles``: whether each may log in with the secret's password."""

    roles: Mapping[str, bool]
    has_database: bool
    logins: frozenset[str] = frozenset()
    """Roles that may log in, or have a password."""


def steps(row: Provisioned, seen: Seen) -> tuple[Step, ...]:
    """What is left to do, in order; each may be done again. Rights are given while it is made, never later:
    what a migration takes from the app stays taken."""
    found: list[Step] = []
    for role in (row.owner, row.role, row.login_role("a"), row.login_role("b"), row.migrator):
        if role not in seen.roles:
            found.append(Step("role", role))
    if not seen.has_database:
        found.append(Step("database"))
    if row.state == "making" or not seen.has_database:
        found.append(Step("rights"))
    current = row.login_role(row.login)
    if not seen.roles.get(current, False):
        found.append(Step("password", current))
    idle = row.login_role(other(row.login))
    if row.previous is None and idle in seen.logins:
        found.append(Step("lock", idle))
    found.append(Step("limit"))
    return tuple(found)
