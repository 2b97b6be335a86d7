"""Databases are dropped by their name, and only when nothing uses them."""

from homeport.database.errors import NOT_CONFIRMED, UNKNOWN
from homeport.database.model import Provisioned
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.data import known
from homeport.rollout.parts import Parts

IN_USE = declare(
    "rollout.database_in_use", Kind.CONFLICT, "A database that a release uses cannot be dropped."
)


def drop(
    parts: Parts,
    database: str,
    *,
    app: AppName | None = None,
    environment: EnvironmentName | None = None,
    confirm: str,
    actor: str,
) -> Provisioned:
    """Take away the database that PostgreSQL calls ``database``, with all that is in it.

    Raises ``database.unknown``, ``database.not_confirmed``, ``rollout.database_in_use``.
    """
    rows = [
        r
        for r in parts.stores.state.databases(app=app)
        if r.database == database and environment in (None, r.environment)
    ]
    if not rows:
        raise UNKNOWN.error(
            f'cannot find a database "{database}" that Homeport made', hint="homeport db list --all-apps"
        )
    if len(rows) > 1:
        raise UNKNOWN.error(
            f'cannot tell which database "{database}" is meant: {", ".join(f"{r.app} {r.environment}" for r in rows)}',
            hint="name it with --app and --env",
        )
    (row,) = rows
    if confirm != database:
        raise NOT_CONFIRMED.error(
            f"cannot drop {row.label}: its name was not repeated", hint=f"--confirm {database}"
        )
    k = known.one(parts, AppName(row.app), EnvironmentName(row.environment), row.name)
    if not k.kept and row.state != "dropping":
        raise IN_USE.error(
            f"cannot drop {row.label}: a release that serves or is kept warm uses it",
            hint=f"homeport destroy {row.app}, or a deploy without [database.{row.name}], comes first",
        )
    parts.stores.databases.drop(row.app, row.environment, k.spec, confirm=confirm, actor=actor)
    return row
