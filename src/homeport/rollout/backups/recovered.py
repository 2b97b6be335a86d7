"""What a recovered state says that does not hold on another machine, and what has to run before apps do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from homeport.backup import events
from homeport.backup.model import RUNNING
from homeport.backup.repositories import MACHINE, Place, secret_name
from homeport.guard.vault import Vault
from homeport.journal import schema
from homeport.journal import schema_backups as tables
from homeport.journal.store import Store
from homeport.kernel.errors import HomeportError
from homeport.rollout import desired
from homeport.rollout.parts import Parts

log = logging.getLogger(__name__)

ACTOR = "homeport recover"


def settle(
    store: Store,
    vault: Vault,
    *,
    repository: str,
    place: Place,
    keys: Mapping[str, str],
    former: str,
    before: datetime | None,
) -> None:
    """Processes of the former machine are none of this one's; its runs end here, and nothing is backed up until a
    person says that it is gone (``Backups.resume``): two machines in one repository spoil each other's backups.

    ``repository`` is at ``place`` from now on.
    """
    with store.transaction(ACTOR) as tx:
        tx.execute(schema.instances.delete())
        tx.execute(
            tables.backup_runs.update()
            .where(tables.backup_runs.c.state == RUNNING)
            .values(cancel="homeport recover")
        )
        tx.execute(tables.backup_repositories.update().values(ready=False))
        tx.execute(
            tables.backup_repositories.update()
            .where(tables.backup_repositories.c.name == repository)
            .values(place=place.to_json())
        )
        for key, value in keys.items():
            vault.set(tx, *MACHINE, secret_name(repository, key.upper()), value)
        tx.append(
            events.MachineRecovered(
                repository=repository,
                place=str(place),
                former=former,
                before=before.isoformat() if before else "",
            )
        )


def start_stores(parts: Parts) -> dict[str, str]:
    """Have the databases and caches of all that serves run, before its instances do; by environment, what is wrong."""
    problems: dict[str, str] = {}
    for e in parts.state.environments():
        if e.serving is None:
            continue
        spec = parts.spec(e.app, e.name, e.serving)
        replicas = sum(w.count for w in desired.wants(spec, dict(e.scale)))
        try:
            parts.stores.ensure(e.app, e.name, spec, replicas)
        except HomeportError as error:
            problems[f"{e.app} {e.name}"] = error.sentence
            log.error("%s %s: %s", e.app, e.name, error.sentence)
    return problems
