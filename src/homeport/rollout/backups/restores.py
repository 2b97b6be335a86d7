"""What people ask to have brought back: a database in place, what that would lose, what was kept of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from homeport.backup.errors import NO_REPOSITORIES
from homeport.backup.files import errors as _files
from homeport.backup.model import RETURNING, Run, Step
from homeport.backup.physical import errors as _physical
from homeport.backup.physical.model import Target
from homeport.backup.restores import plan
from homeport.backup.restores.errors import (
    BAD_TARGET,
    MOVING,
    NO_DATABASE,
    NO_FILES,
    NOT_CONFIRMED,
    NOT_OURS,
    UNKNOWN_KEPT,
)
from homeport.backup.restores.model import Place, target_document
from homeport.backup.service import Backups, new_id
from homeport.database.model import Provisioned
from homeport.journal.store import text_time
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.rollout.backups.restore_moments import Moment, Moments
from homeport.rollout.backups.restore_steps import RestoreSteps
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import Rollouts
from homeport.rollout.settings import Settings

DECLARED = (_files, _physical)
"""Errors that a child may end with: imported, they are in the catalogue."""


class Restores:
    """Every call may come from any thread."""

    def __init__(self, parts: Parts, backups: Backups, settings: Settings, rollouts: Rollouts) -> None:
        self._parts = parts
        self._backups = backups
        self._moments = Moments(parts)
        RestoreSteps(parts, settings, rollouts).register(backups)

    # Asking

    def database(
        self,
        app: AppName,
        environment: EnvironmentName,
        name: str | None,
        moment: Moment,
        *,
        confirm: str,
        hold: bool,
        actor: str,
        rollback: ReleaseId | None = None,
        id: str | None = None,
    ) -> Run:
        """Take a database back to a moment, in place; the one that served is kept.

        Raises ``restore.not_confirmed``, ``.change_under_way``, and what speaks against the moment.
        """
        if known := self._known(id):
            return known
        if confirm != app:
            raise NOT_CONFIRMED.error(
                f"cannot take back {environment} of {app}: the app's name was not repeated",
                hint=f"it replaces what serves: --confirm {app}; --plan shows first what would be lost",
            )
        row = self._row(app, environment, name)
        if rollback is not None:
            moment = Moment(
                before_deploy=self._moments.successor(app, environment, rollback),
                repository=moment.repository,
            )
        else:
            self._must_rest(app, environment)
        target = self._moments.target(row, moment)
        self._must_be_reachable(row, target, moment.repository)
        run = id or new_id()
        place = self._place(row, run)
        serves = self._parts.state.environment(app, environment).serving is not None
        document = target_document(target)
        steps = plan.in_place(
            place,
            document,
            moment.repository,
            {"target": document},
            hold=hold and serves,
            rollback=rollback or "",
        )
        return self._begin(run, row, {"target": document, "plan": False, "kept": place.before}, steps, actor)

    def look(
        self,
        app: AppName,
        environment: EnvironmentName,
        name: str | None,
        moment: Moment,
        *,
        actor: str,
        id: str | None = None,
    ) -> Run:
        """Find out what a return would lose. Nothing that serves is touched."""
        if known := self._known(id):
            return known
        row = self._row(app, environment, name)
        target = self._moments.target(row, moment)
        self._must_be_reachable(row, target, moment.repository)
        run = id or new_id()
        document = target_document(target)
        steps = plan.looking(self._place(row, run), document, moment.repository)
        return self._begin(run, row, {"target": document, "plan": True}, steps, actor)

    def cluster(
        self,
        name: str,
        moment: Moment,
        *,
        confirm: Sequence[str],
        hold: bool,
        actor: str,
        id: str | None = None,
    ) -> Run:
        """Take a cluster back with all that is in it; its former files are kept, where it has any.

        Raises ``restore.not_confirmed`` unless every app with a database in it is named.
        """
        if known := self._known(id):
            return known
        rows = [r for r in self._parts.stores.state.databases(cluster=name) if r.state == "ready"]
        if self._parts.stores.state.cluster(name) is None or not rows:
            names = ", ".join(c.name for c in self._parts.stores.state.clusters())
            raise NO_DATABASE.error(
                f"cannot find cluster {name} with a database in it",
                hint=f"there are: {names}" if names else "there is none",
            )
        apps = sorted({r.app for r in rows})
        if sorted(set(confirm)) != apps:
            raise NOT_CONFIRMED.error(
                f"cannot take back cluster {name}: not the name of every app with data in it was repeated",
                hint=f"it replaces the data of all of them: --confirm {','.join(apps)}",
            )
        environments = list(dict.fromkeys((r.app, r.environment) for r in rows))
        for app, environment in environments:
            self._must_rest(AppName(app), EnvironmentName(environment))
        if moment.before_deploy:
            raise BAD_TARGET.error(
                "cannot take a cluster back to before a deploy: it holds several", hint="name a time"
            )
        target = self._moments.target(rows[0], moment)
        self._must_be_reachable(rows[0], target, moment.repository)
        run = id or new_id()
        synchronous = any(c.synchronous for c in self._backups.wanted().clusters if c.name == name)
        document = target_document(target)
        steps = plan.whole(name, run, document, moment.repository, synchronous=synchronous, hold=hold)
        asked = {
            "target": document,
            "plan": False,
            "cluster": name,
            "environments": [list(e) for e in environments],
        }
        return self._backups.begin("restore", f"cluster {name}", RETURNING, asked, steps, actor=actor, id=run)

    def files(
        self,
        app: AppName,
        environment: EnvironmentName,
        paths: Sequence[str],
        moment: Moment,
        *,
        confirm: str,
        hold: bool,
        actor: str,
        id: str | None = None,
    ) -> Run:
        """Take the environment's storage back, or ``paths`` in it; what was there is kept beside."""
        if known := self._known(id):
            return known
        if confirm != app:
            raise NOT_CONFIRMED.error(
                f"cannot take back files of {environment} of {app}: the app's name was not repeated",
                hint=f"it replaces what is there: --confirm {app}",
            )
        now = self._parts.state.environment(app, environment)
        self._must_rest(app, environment)
        if moment.before_deploy:
            raise BAD_TARGET.error("cannot take files back to before a deploy: name a time or a backup")
        if not self._backups.repositories.list():
            raise NO_REPOSITORIES.error(
                f"cannot take back files of {app} {environment}: nothing of them was backed up",
                hint="homeport backup repository add NAME /a/directory/on/another/disk",
            )
        root = f"storage/{app}/{environment}"
        request = {
            "series": f"{app}.{environment}",
            "paths": [f"{root}/{path}" for path in _inside(paths)] or [root],
            "at": text_time(moment.at) if moment.at else None,
            "label": moment.backup,
            "repository": moment.repository,
        }
        request |= self._backups.ask("restore-files-choose", request)
        serves = now.serving is not None
        steps = plan.files(request, hold=hold and serves, restart=serves)
        asked = {"app": app, "environment": environment, "paths": request["paths"], "plan": False}
        subject = f"files of {app} {environment}"
        return self._backups.begin(
            "restore", subject, RETURNING, asked, steps, actor=actor, id=id or new_id()
        )

    def tables(
        self,
        app: AppName,
        environment: EnvironmentName,
        name: str | None,
        moment: Moment,
        tables: Sequence[str],
        *,
        actor: str,
        id: str | None = None,
    ) -> Run:
        """Bring tables back into a schema beside those that serve."""
        if known := self._known(id):
            return known
        row = self._row(app, environment, name)
        target = self._moments.target(row, moment)
        self._must_be_reachable(row, target, moment.repository)
        run = id or new_id()
        document = target_document(target)
        place = self._place(row, run)
        steps = plan.beside(place, document, moment.repository, tables)
        asked = {"target": document, "plan": False, "tables": list(tables), "kept": place.side}
        return self._begin(run, row, asked, steps, actor)

    def merge(
        self,
        app: AppName,
        environment: EnvironmentName,
        schema: str,
        *,
        missing: bool,
        changed: bool,
        confirm: str,
        actor: str,
        id: str | None = None,
    ) -> Run:
        """Bring rows over from tables that :meth:`tables` brought back. Raises ``restore.unknown``."""
        if known := self._known(id):
            return known
        if confirm != app:
            raise NOT_CONFIRMED.error(
                f"cannot bring rows over into {environment} of {app}: the app's name was not repeated",
                hint=f"--confirm {app}",
            )
        found = next((k for k in self.kept(app, environment)["kept"] if k["name"] == schema), None)
        if found is None or found["kind"] != "schema":
            raise UNKNOWN_KEPT.error(
                f"cannot merge {schema[:63]}: no tables were brought back there", hint="homeport restore list"
            )
        row = self._row(app, environment, found["database"])
        asked = {"schema": schema, "missing": missing, "changed": changed}
        request = {"app": app, "environment": environment, "database": row.name, **asked}
        return self._begin(id or new_id(), row, asked, (Step(plan.MERGE, "restore-merge", request),), actor)

    def kept(self, app: AppName, environment: EnvironmentName) -> dict[str, Any]:
        """What restores have kept of an environment."""
        self._parts.state.environment(app, environment)
        found = self._backups.ask("restore-kept", {})
        clusters = {r.cluster for r in self._parts.stores.provisioned(app, environment)}
        mine = [
            k
            for k in found["kept"]
            if (k["app"], k["environment"]) == (app, environment)
            or (k["kind"] == "cluster" and k["cluster"] in clusters)
        ]
        return {"kept": mine, "problems": found["problems"]}

    def drop(self, app: AppName, environment: EnvironmentName, name: str, *, confirm: str) -> dict[str, Any]:
        """Remove what was kept. Raises ``restore.unknown``, ``restore.not_confirmed``."""
        request = {"app": app, "environment": environment, "name": name, "confirm": confirm}
        found: dict[str, Any] = self._backups.ask("restore-drop", request)
        return found

    # Deciding

    def _known(self, id: str | None) -> Run | None:
        return self._backups.runs.find(id) if id is not None else None

    def _row(self, app: AppName, environment: EnvironmentName, name: str | None) -> Provisioned:
        self._parts.state.environment(app, environment)
        rows = [r for r in self._parts.stores.provisioned(app, environment) if r.state == "ready"]
        wanted = name or ("main" if len(rows) != 1 else rows[0].name)
        found = next((r for r in rows if r.name == wanted), None)
        if found is not None:
            return found
        serving = self._parts.state.environment(app, environment).serving
        declared = self._parts.spec(app, environment, serving).databases if serving else ()
        if any(d.name == wanted and d.url for d in declared):
            raise NOT_OURS.error(
                f"cannot take back database {wanted} of {app} {environment}: somebody else runs its server",
                hint="its own tools take it back; Homeport's dumps of it are in: homeport backup list",
            )
        there = ", ".join(r.name for r in rows)
        raise NO_DATABASE.error(
            f"cannot find database {wanted} of {app} {environment}",
            hint=f"there are: {there}" if there else "files are brought back by --files",
        )

    def _place(self, row: Provisioned, run: str) -> Place:
        return Place.for_run(
            run,
            self._parts.clock.now(),
            app=row.app,
            environment=row.environment,
            name=row.name,
            cluster=row.cluster,
            database=row.database,
        )

    def _must_rest(self, app: AppName, environment: EnvironmentName) -> None:
        moving = [c for c in self._parts.state.running() if (c.app, c.environment) == (app, environment)]
        if moving:
            raise MOVING.error(
                f"cannot take back {environment} of {app}: {moving[0].kind.value} {moving[0].id} is under way",
                hint="wait for its end, or homeport cancel",
            )

    def _must_be_reachable(self, row: Provisioned, target: Target, repository: str) -> None:
        if not self._backups.repositories.list():
            raise NO_REPOSITORIES.error(
                f"cannot take back {row.label}: nothing of it was backed up",
                hint="homeport backup repository add NAME /a/directory/on/another/disk",
            )
        request = {"cluster": row.cluster, "target": target_document(target), "repository": repository}
        self._backups.ask("restore-choose", request)

    def _begin(
        self, run: str, row: Provisioned, request: Mapping[str, Any], steps: tuple[Step, ...], actor: str
    ) -> Run:
        subject = f"{row.app} {row.environment}"
        asked = {**request, "app": row.app, "environment": row.environment, "database": row.name}
        return self._backups.begin("restore", subject, RETURNING, asked, steps, actor=actor, id=run)


def _inside(paths: Sequence[str]) -> list[str]:
    """Paths in the storage, plain, none of them within another. Raises ``restore.no_files``."""
    found = []
    for path in paths:
        parts = PurePosixPath(path.strip("/")).parts
        if not parts or ".." in parts:
            raise NO_FILES.error(f"cannot bring back {path[:200]!r}: it is no path in the storage")
        found.append("/".join(parts))
    return [p for p in dict.fromkeys(found) if not any(p.startswith(f"{other}/") for other in found)]
