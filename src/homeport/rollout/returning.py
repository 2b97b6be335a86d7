"""Environments whose data are just being replaced: nothing is deployed to them meanwhile, nothing is returned twice."""

from __future__ import annotations

from homeport.backup.model import RETURNING, Run
from homeport.backup.runs import Runs
from homeport.journal.store import Store
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName
from homeport.rollout.errors import BUSY
from homeport.rollout.model import ChangeKind

KEEPS_OFF = frozenset(
    {
        ChangeKind.DEPLOY,
        ChangeKind.CONFIGURE,
        ChangeKind.PROMOTE,
        ChangeKind.ROLLBACK,
        ChangeKind.MIGRATE,
    }
)
"""What may change a schema, or run hooks that write; instances are replaced and scaled all the same."""


def replaces(run: Run) -> tuple[tuple[AppName, EnvironmentName], ...]:
    """Environments whose data ``run`` puts others in the place of. Pure."""
    asked = run.request
    if run.kind == "clone":
        found = [(asked["app"], asked["to"])]
    elif run.kind != "restore" or asked.get("plan") or "tables" in asked or "schema" in asked:
        return ()
    elif "environments" in asked:
        found = [(app, environment) for app, environment in asked["environments"]]
    else:
        found = [(asked["app"], asked["environment"])]
    return tuple((AppName(app), EnvironmentName(environment)) for app, environment in found)


def change_of(run: Run) -> ChangeId:
    """The change that a run itself makes: done again it is found."""
    return ChangeId(f"c-{run.id.removeprefix('b-')}")


def under_way(store: Store, app: AppName, environment: EnvironmentName) -> Run | None:
    """What just replaces the environment's data."""
    run = Runs(store).under_way(RETURNING)
    return run if run is not None and (app, environment) in replaces(run) else None


def in_the_way(
    store: Store, kind: ChangeKind, id: ChangeId, app: AppName, environment: EnvironmentName
) -> HomeportError | None:
    """Why a change cannot begin. A schema changed now would be gone with the data that are replaced."""
    if kind not in KEEPS_OFF:
        return None
    run = under_way(store, app, environment)
    if run is None or change_of(run) == id:
        return None
    what = "cloned into" if run.kind == "clone" else "brought back to"
    return BUSY.error(
        f"cannot start: data are being {what} {environment} of {app} ({run.id})",
        hint=f"wait for its end: homeport backup show {run.id}; started by {run.actor}",
    )
