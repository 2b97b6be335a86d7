"""What people ask to have brought back: a database in place, what that would lose, what was kept of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from homeport.backup.errors import NO_REPOSITORIES
from homeport.backup.files import errors as _files
from homeport.backup.model import RETURNING, Run, Step
from homeport.backup.physical import errors as _physical
from homeport.backup.physical.model import Target
from homeport.backup.restores import plan
from homeport.backup.restores.errors import (
    IS_FILE,
    MOVING,
    NO_DATABASE,
    NOT_CONFIRMED,
    NOT_OURS,
    UNKNOWN_KEPT,
)
from homeport.backup.restores.model import Place, target_document
from homeport.backup.service import Backups, new_id
from homeport.database.model import Provisioned
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.rollout.backups import standing, whole_clusters
from homeport.rollout.backups.restore_moments import Moment, Moments
from homeport.rollout.backups.restore_steps import RestoreSteps
from homeport.rollout.backups.restores_attached import AttachedRestores
from homeport.rollout.backups.restores_files import FileRestores
from homeport.rollout.data import contracts
from homeport.rollout.data.wanted import sqlite_file
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import Rollouts
from homeport.rollout.settings import Settings
from homeport.spec.model_database import Database

DECLARED = (_files, _physical)
"""Errors that a child may end with: imported, they are in the catalogue."""


class Restores:
    """Every call may come from any thread."""

    def __init__(self, parts: Parts, backups: Backups, settings: Settings, rollouts: Rollouts) -> None:
        self._parts = parts
        self._backups = backups
        self._moments = Moments(parts)
        self._attached = AttachedRestores(parts, backups)
        self._files = FileRestores(parts, backups)
        self._rollouts = rollouts
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
        to_last: bool = False,
        id: str | None = None,
    ) -> Run:
        """Take a database back to a moment, in place; the one that served is kept.

        ``rollback``: with this release; ``to_last``: with the one that a rollback goes to by itself. Raises
        ``restore.not_confirmed``, ``.change_under_way``, and what speaks against the moment.
        """
        if known := self._known(id):
            return known
        if to_last:
            rollback = self._rollouts.rollback_target(app, environment)
        if rollback is not None:
            self._parts.state.release(app, rollback)
        if confirm != app:
            raise NOT_CONFIRMED.error(
                f"cannot take back {environment} of {app}: the app's name was not repeated",
                hint=f"it replaces what serves: --confirm {app}; --plan shows first what would be lost",
            )
        theirs = self._attached.find(app, environment, name)
        if theirs is not None and rollback is None:
            rests = [(app, environment)]
            self._must_rest(rests)
            hold = hold and self._parts.state.environment(app, environment).serving is not None
            return self._attached.database(
                theirs, moment, lambda: self._must_rest(rests), hold=hold, run=id or new_id(), actor=actor
            )
        row = self._row(app, environment, name)
        if rollback is not None:
            now = self._parts.state.environment(app, environment)
            contracts.check_way_back_with_data(self._parts.state.store, now, rollback)
            moment = Moment(
                before_deploy=self._moments.successor(app, environment, rollback),
                repository=moment.repository,
            )
        rests = [] if rollback is not None else [(app, environment)]
        self._must_rest(rests)
        target = self._moments.target(row, moment)
        self._must_be_reachable(row, target, moment.repository)
        standing.must_run(self._parts, row)
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
        asked = {"target": document, "plan": False, "kept": place.before}
        return self._begin(run, row, asked, steps, actor, lambda: self._must_rest(rests))

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
        theirs = self._attached.find(app, environment, name)
        if theirs is not None:
            return self._attached.look(theirs, moment, run=id or new_id(), actor=actor)
        row = self._row(app, environment, name)
        target = self._moments.target(row, moment)
        self._must_be_reachable(row, target, moment.repository)
        standing.must_run(self._parts, row)
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
        rows = whole_clusters.databases_of(self._parts, name)
        apps = sorted({r.app for r in rows})
        if sorted(set(confirm)) != apps:
            raise NOT_CONFIRMED.error(
                f"cannot take back cluster {name}: not the name of every app with data in it was repeated",
                hint=f"it replaces the data of all of them: --confirm {','.join(apps)}",
            )
        environments = [
            (AppName(app), EnvironmentName(environment))
            for app, environment in dict.fromkeys((r.app, r.environment) for r in rows)
        ]
        self._must_rest(environments)
        target = whole_clusters.target_of(self._parts, rows[0], moment)
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
        return self._backups.begin(
            "restore", f"cluster {name}", RETURNING, asked, steps, actor=actor, id=run,
            check=lambda: self._must_rest(environments),
        )  # fmt: skip

    def look_cluster(self, name: str, moment: Moment, *, actor: str, id: str | None = None) -> Run:
        """As :meth:`look`, of all that is in a cluster."""
        return whole_clusters.look(self._parts, self._backups, name, moment, actor=actor, id=id)

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
        self._must_rest([(app, environment)])
        return self._files.files(
            app, environment, paths, moment, lambda: self._must_rest([(app, environment)]),
            hold=hold, run=id or new_id(), actor=actor,
        )  # fmt: skip

    def look_files(
        self,
        app: AppName,
        environment: EnvironmentName,
        paths: Sequence[str],
        moment: Moment,
        *,
        actor: str,
        id: str | None = None,
    ) -> Run:
        """As :meth:`look`, of the environment's storage, or ``paths`` in it."""
        if known := self._known(id):
            return known
        return self._files.look(app, environment, paths, moment, run=id or new_id(), actor=actor)

    def files_in_backup(
        self, app: AppName, environment: EnvironmentName, pattern: str, moment: Moment
    ) -> dict[str, Any]:
        """Which files of the environment's storage a backup has: those whose path fits. Raises ``restore.no_files``."""
        found: dict[str, Any] = self._files.contents(app, environment, pattern, moment)
        return found

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
        theirs = self._attached.find(app, environment, name)
        if theirs is not None:
            return self._attached.tables(theirs, moment, tables, run=id or new_id(), actor=actor)
        row = self._row(app, environment, name)
        target = self._moments.target(row, moment)
        self._must_be_reachable(row, target, moment.repository)
        standing.must_run(self._parts, row)
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
        asked = {"schema": schema, "missing": missing, "changed": changed}
        theirs = self._attached.find(app, environment, found["database"])
        if theirs is not None:
            return self._attached.merge(theirs, asked, run=id or new_id(), actor=actor)
        row = self._row(app, environment, found["database"])
        standing.must_run(self._parts, row)
        request = {"app": app, "environment": environment, "database": row.name, **asked}
        return self._begin(id or new_id(), row, asked, (Step(plan.MERGE, "restore-merge", request),), actor)

    def kept(self, app: AppName, environment: EnvironmentName) -> dict[str, Any]:
        """What restores have kept of an environment."""
        self._parts.state.environment(app, environment)
        found = self._backups.ask("restore-kept", {"attached": self._attached.all_named(app, environment)})
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
        request: dict[str, Any] = {"app": app, "environment": environment, "name": name, "confirm": confirm}
        request |= {"attached": self._attached.all_named(app, environment)}
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
                hint=f"homeport restore --database {wanted} takes it back to a dump, without a release; previews have none",
            )
        self._must_be_no_file(app, environment, name, [d for d in declared if d.engine == "sqlite"])
        there = ", ".join(r.name for r in rows)
        raise NO_DATABASE.error(
            f"cannot find database {wanted} of {app} {environment}",
            hint=f"there are: {there}" if there else "files are brought back by --files",
        )

    def _must_be_no_file(
        self, app: AppName, environment: EnvironmentName, name: str | None, files: Sequence[Database]
    ) -> None:
        """Raises ``restore.sqlite_file`` where the one that is meant is one of ``files``."""
        meant = next((d for d in files if d.name == name or (name is None and len(files) == 1)), None)
        serving = self._parts.state.environment(app, environment).serving
        if meant is None or serving is None:
            return
        directories = {s.name: s.name for s in self._parts.spec(app, environment, serving).storage}
        path = "/".join(sqlite_file(self._parts.spec(app, environment, serving), meant, directories))
        raise IS_FILE.error(
            f"cannot bring back database {meant.name} of {app} {environment} by itself: it is a file, SQLite's",
            hint=f"homeport restore --files --path {path}",
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

    def _must_rest(self, environments: Sequence[tuple[AppName, EnvironmentName]]) -> None:
        for c in self._parts.state.running():
            if (c.app, c.environment) in environments:
                raise MOVING.error(
                    f"cannot take back {c.environment} of {c.app}: {c.kind.value} {c.id} is under way",
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
        self,
        run: str,
        row: Provisioned,
        request: Mapping[str, Any],
        steps: tuple[Step, ...],
        actor: str,
        check: Callable[[], None] = lambda: None,
    ) -> Run:
        subject = f"{row.app} {row.environment}"
        asked = {**request, "app": row.app, "environment": row.environment, "database": row.name}
        return self._backups.begin(
            "restore", subject, RETURNING, asked, steps, actor=actor, id=run, check=check
        )
