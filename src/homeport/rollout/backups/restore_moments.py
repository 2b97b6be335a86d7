"""Which moment people mean: a time, a backup, or that before a deploy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from homeport.backup.physical.model import AtPoint, AtTime, Newest, OfBackup, Target
from homeport.backup.restores.errors import BAD_TARGET
from homeport.database.model import Provisioned
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.rollout.model import ChangeKind
from homeport.rollout.parts import Parts


@dataclass(frozen=True, slots=True)
class Moment:
    """To which moment; nothing: the newest."""

    at: datetime | None = None
    backup: str = ""
    before_deploy: str = ""
    repository: str = ""
    """The one to read; "": any."""


class Moments:
    """Reaches no server."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def target(self, row: Provisioned, moment: Moment) -> Target:
        given = [bool(moment.at), bool(moment.backup), bool(moment.before_deploy)]
        if sum(given) > 1:
            raise BAD_TARGET.error("cannot return to several moments: name one of a time, a backup, a deploy")
        if moment.backup:
            return OfBackup(moment.backup)
        if moment.before_deploy:
            return self._before(row, ReleaseId(moment.before_deploy))
        return AtTime(moment.at) if moment.at is not None else Newest()

    def _before(self, row: Provisioned, release: ReleaseId) -> Target:
        """The moment before a release's migration; where it had none, that at which its deploy began."""
        app, environment = AppName(row.app), EnvironmentName(row.environment)
        self._parts.state.release(app, release)
        kinds = (ChangeKind.DEPLOY, ChangeKind.PROMOTE)
        changes = [
            c
            for c in self._parts.state.changes(app, limit=1000)
            if c.environment == environment and c.goal.release == release and c.kind in kinds
        ]
        if not changes:
            raise BAD_TARGET.error(
                f"cannot return to before the deploy of {release}: it was never deployed to {environment}",
                hint="homeport events tells what was",
            )
        change = changes[0]
        points = self._parts.stores.state.restore_points(row.app, row.environment, row.name)
        mine = [p for p in points if p.change == change.id]
        if mine:
            first = mine[-1]
            return AtPoint(first.id, first.lsn, first.at)
        return AtTime(change.started_at)

    def successor(self, app: AppName, environment: EnvironmentName, release: ReleaseId) -> str:
        """The release that was deployed after another one, at last."""
        served = self._parts.state.deployments(app, environment)
        after: str = ""
        for deployment in served:
            if deployment.release == release:
                break
            after = deployment.release
        else:
            raise BAD_TARGET.error(
                f"cannot take the data back with {release}: it never served {environment}",
                hint="homeport events tells what did; homeport restore --at takes the data alone back",
            )
        if not after:
            raise BAD_TARGET.error(
                f"cannot take the data back with {release}: no other release was deployed after it",
                hint="homeport restore --at takes the data alone back",
            )
        return after
