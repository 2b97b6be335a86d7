"""What a login may do on a server that somebody else runs, and what each way of restoring needs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from homeport.backup.restores.errors import NOT_OURS, SERVER_NEWER
from homeport.kernel.errors import HomeportError

SIDE = "--table TABLE brings tables into a schema beside, and needs neither"


@dataclass(frozen=True, slots=True)
class Rights:
    """As the server tells of the login that the URL names."""

    role: str
    version: int
    """As ``server_version_num``."""
    database: str
    owner: str
    """Whom the database belongs to."""
    superuser: bool
    createdb: bool
    owns: bool
    """It is the owner, or a member of it."""
    may_create: bool
    """Schemas in the database."""
    elsewhere: bool = True
    """Another database of the server can be reached: none is renamed by who is in it."""


def missing_in_place(rights: Rights) -> tuple[str, ...]:
    """What stands in the way of a database beside that takes the place of the one that serves."""
    found = []
    if not (rights.superuser or rights.createdb):
        found.append(f'"{rights.role}" may not make databases: ALTER ROLE "{rights.role}" CREATEDB')
    if not (rights.superuser or rights.owns):
        found.append(
            f'"{rights.database}" belongs to "{rights.owner}": '
            f'ALTER DATABASE "{rights.database}" OWNER TO "{rights.role}"'
        )
    if not rights.elsewhere:
        found.append(
            f'"{rights.role}" comes into no database but this one, and nobody renames the one that they are in: '
            f'GRANT CONNECT ON DATABASE postgres TO "{rights.role}"'
        )
    return tuple(found)


def cannot_in_place(rights: Rights, label: str) -> HomeportError | None:
    missing = missing_in_place(rights)
    if not missing:
        return None
    return NOT_OURS.error(
        f"cannot take {label} back in place: {missing[0].partition(':')[0]}",
        hint=f"whoever runs the server may allow it; homeport restore {SIDE}",
        details=missing,
    )


def cannot_beside(rights: Rights, label: str) -> HomeportError | None:
    if rights.superuser or rights.may_create:
        return None
    return NOT_OURS.error(
        f'cannot bring tables of {label} back: "{rights.role}" may not make a schema in "{rights.database}"',
        hint=f'GRANT CREATE ON DATABASE "{rights.database}" TO "{rights.role}"',
    )


def too_new(rights: Rights, programs: int, label: str) -> HomeportError | None:
    """``programs``: the major version of pg_restore here."""
    server = rights.version // 10000
    if server <= programs:
        return None
    return SERVER_NEWER.error(
        f"cannot restore {label}: its server is PostgreSQL {server}, and pg_restore here is {programs}",
        hint=f"apt-get install --no-install-recommends postgresql-{server}",
    )
