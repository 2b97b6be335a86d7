"""What a recovered state says that does not hold on another machine, and what has to run before apps do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from homeport.backup import events
from homeport.backup.model import RECOVERED, RUNNING
from homeport.backup.repositories import MACHINE, Place, secret_name
from homeport.guard.vault import Vault
from homeport.journal import schema
from homeport.journal import schema_backups as tables
from homeport.journal.store import Store, Transaction, parse_time, text_time
from homeport.kernel.errors import HomeportError
from homeport.rollout import desired, rules
from homeport.rollout.model import ReleaseState
from homeport.rollout.parts import Parts
from homeport.rollout.sources.service import Sources

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
    here: str,
    as_of: datetime | None,
    before: datetime | None,
) -> None:
    """Processes of the former machine are none of this one's; its runs end here, and nothing is backed up until a
    person says that it is gone (``Backups.resume``): two machines in one repository spoil each other's backups.

    ``repository`` is at ``place`` from now on. ``former``, ``here``: the data directory's path on either machine.
    ``as_of``: when the state was backed up.
    """
    with store.transaction(ACTOR) as tx:
        tx.execute(schema.instances.delete())
        _end_runs(tx, as_of)
        if former and former != here:
            _mark_as_built_elsewhere(tx)
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


def _end_runs(tx: Transaction, as_of: datetime | None) -> None:
    """What was under way then was cut off by the copy, whatever became of it: it ends at that moment. Its steps that
    put things back are done all the same."""
    r = tables.backup_runs.c
    for row in tx.execute(sa.select(r.id, r.started_at).where(r.state == RUNNING)).all():
        began = parse_time(row.started_at)
        tx.execute(
            tables.backup_runs.update()
            .where(r.id == row.id)
            .values(cancel=RECOVERED, finished_at=text_time(max(began, as_of or began)))
        )


def _mark_as_built_elsewhere(tx: Transaction) -> None:
    r = schema.releases.c
    tx.execute(
        schema.releases.update()
        .where(r.state == ReleaseState.READY.value, ~r.digest.startswith(rules.ELSEWHERE, autoescape=True))
        .values(digest=rules.ELSEWHERE + r.digest)
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


def renew_repositories(parts: Parts, sources: Sources) -> None:
    """Have pushes to the apps' repositories run this Homeport: their hooks name the data directory."""
    for app in parts.state.apps():
        if (parts.data_dir / "repositories" / f"{app}.git").is_dir():
            try:
                sources.repository(app)
            except HomeportError as error:
                log.error("repository of %s: %s", app, error.sentence)
