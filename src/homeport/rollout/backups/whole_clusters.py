"""What the return of a whole cluster is of, and what it would lose."""

from __future__ import annotations

from homeport.backup.errors import NO_REPOSITORIES
from homeport.backup.model import RETURNING, Run
from homeport.backup.physical.model import Target
from homeport.backup.restores import plan
from homeport.backup.restores.errors import BAD_TARGET, NO_DATABASE
from homeport.backup.restores.model import target_document
from homeport.backup.service import Backups, new_id
from homeport.database.model import Provisioned
from homeport.rollout.backups.restore_moments import Moment, Moments
from homeport.rollout.parts import Parts


def databases_of(parts: Parts, cluster: str) -> list[Provisioned]:
    """Raises ``restore.no_database`` where there is none."""
    state = parts.stores.state
    rows = [r for r in state.databases(cluster=cluster) if r.state == "ready"]
    if state.cluster(cluster) is None or not rows:
        names = ", ".join(c.name for c in state.clusters())
        raise NO_DATABASE.error(
            f"cannot find cluster {cluster} with a database in it",
            hint=f"there are: {names}" if names else "there is none",
        )
    return rows


def target_of(parts: Parts, row: Provisioned, moment: Moment) -> Target:
    """Raises ``restore.bad_moment``."""
    if moment.before_deploy:
        raise BAD_TARGET.error(
            "cannot take a cluster back to before a deploy: it holds several", hint="name a time"
        )
    return Moments(parts).target(row, moment)


def look(
    parts: Parts, backups: Backups, cluster: str, moment: Moment, *, actor: str, id: str | None = None
) -> Run:
    """Find out what a return of the cluster would lose, database by database. Nothing that serves is touched."""
    if id is not None and (known := backups.runs.find(id)) is not None:
        return known
    rows = databases_of(parts, cluster)
    document = target_document(target_of(parts, rows[0], moment))
    if not backups.repositories.list():
        raise NO_REPOSITORIES.error(
            f"cannot take back cluster {cluster}: nothing of it was backed up",
            hint="homeport backup repository add NAME /a/directory/on/another/disk",
        )
    backups.ask("restore-choose", {"cluster": cluster, "target": document, "repository": moment.repository})
    run = id or new_id()
    steps = plan.looking_at_all(cluster, run, document, moment.repository)
    asked = {
        "target": document,
        "plan": True,
        "cluster": cluster,
        "environments": [list(e) for e in dict.fromkeys((r.app, r.environment) for r in rows)],
    }
    return backups.begin("restore", f"cluster {cluster}", RETURNING, asked, steps, actor=actor, id=run)
