"""Contracts: migrations that take away what the release before needs, run when nobody needs it any more.

Due when the release that brought them serves, its watch is over, and no instance of another one is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from homeport.journal import schema_databases as tables
from homeport.journal.store import Store, Transaction, text_time
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId, release_number
from homeport.rollout.model import Environment

WAITING = "waiting"
DONE = "done"
FAILED = "failed"

TAKEN_AWAY = declare(
    "rollout.schema_taken_away",
    Kind.CONFLICT,
    "A release cannot serve again: a contract migration took away what it needs of the database.",
)

_C = tables.contracts.c


@dataclass(frozen=True, slots=True)
class Contract:
    app: AppName
    environment: EnvironmentName
    release: ReleaseId
    name: str
    """Of the database."""
    versions: tuple[str, ...]
    state: str


def all_of(store: Store, app: AppName | None = None) -> tuple[Contract, ...]:
    query = sa.select(tables.contracts)
    if app is not None:
        query = query.where(_C.app == app)
    with store.read() as c:
        return tuple(
            Contract(
                AppName(r.app),
                EnvironmentName(r.environment),
                ReleaseId(r.release),
                r.name,
                tuple(r.versions),
                r.state,
            )
            for r in c.execute(query)
        )


def record(
    tx: Transaction,
    app: AppName,
    environment: EnvironmentName,
    release: ReleaseId,
    name: str,
    versions: Sequence[str],
    state: str,
) -> None:
    """How a release's contracts in a database stand now; without versions there are none."""
    key = (_C.app == app, _C.environment == environment, _C.release == release, _C.name == name)
    tx.execute(tables.contracts.delete().where(*key))
    if versions:
        tx.execute(
            tables.contracts.insert().values(
                app=app,
                environment=environment,
                release=release,
                name=name,
                versions=list(versions),
                state=state,
                at=text_time(tx.now),
            )
        )


def reverted(tx: Transaction, contracts: Sequence[Contract], name: str, versions: frozenset[str]) -> None:
    """Contracts of which a version was taken back: what they took away is there again."""
    for c in contracts:
        if c.name == name and c.state == DONE and versions & set(c.versions):
            record(tx, c.app, c.environment, c.release, name, c.versions, FAILED)


def forget(tx: Transaction, app: AppName, environment: EnvironmentName | None = None) -> None:
    chosen = _C.app == app if environment is None else sa.and_(_C.app == app, _C.environment == environment)
    tx.execute(tables.contracts.delete().where(chosen))


def in_the_way(contracts: Sequence[Contract], environment: str, release: ReleaseId) -> Contract | None:
    """The contract of a later release, carried out, for which a release cannot serve again. Pure."""
    number = release_number(release)
    return next(
        (
            c
            for c in contracts
            if c.environment == environment and c.state == DONE and number < release_number(c.release)
        ),
        None,
    )


def check_way_back(store: Store, environment: Environment, release: ReleaseId) -> None:
    """Raise ``rollout.schema_taken_away`` where a later release's contract was carried out since."""
    found = in_the_way(all_of(store, environment.app), environment.name, release)
    if found is not None:
        raise _taken_away(
            found,
            release,
            f"homeport migrate down {found.versions[0]} --env {environment.name} brings the shape back, where it "
            "has a down section; else go forward with a new release",
        )


def check_way_back_with_data(store: Store, environment: Environment, release: ReleaseId) -> None:
    """As :func:`check_way_back`, where the data are to go back too: the release goes first, and could not serve."""
    found = in_the_way(all_of(store, environment.app), environment.name, release)
    if found is not None:
        raise _taken_away(
            found,
            release,
            f"two steps: homeport restore --env {environment.name} --before-deploy {found.release} --database {found.name} "
            f"brings the data and their shape back, then homeport rollback {release} --env {environment.name}",
        )


def _taken_away(found: Contract, release: ReleaseId, hint: str) -> HomeportError:
    return TAKEN_AWAY.error(
        f"cannot go back to {release}: {', '.join(found.versions)} of {found.release} took away what it needs "
        f"of database {found.name}",
        hint=hint,
    )
