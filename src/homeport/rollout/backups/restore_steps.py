"""What the control plane does itself for a restore. Each may be cut off anywhere and is then done again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from homeport.backup.model import Run, Step
from homeport.backup.restores import plan
from homeport.backup.service import Backups, Told
from homeport.edge.modes import MAINTENANCE, READ_ONLY
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, ReleaseId
from homeport.rollout.data import contracts
from homeport.rollout.errors import NOTHING_SERVES
from homeport.rollout.model import Change, Verdict
from homeport.rollout.parts import Parts
from homeport.rollout.returning import change_of
from homeport.rollout.rollouts import Rollouts
from homeport.rollout.settings import MODE_IS_OFF, Settings
from homeport.spec.model_database import Database

LOOK = 1.0


class RestoreSteps:
    def __init__(self, parts: Parts, settings: Settings, rollouts: Rollouts) -> None:
        self._parts = parts
        self._settings = settings
        self._rollouts = rollouts

    def register(self, backups: Backups) -> None:
        backups.here["restore-hold"] = self._hold
        backups.here["restore-release"] = self._release
        backups.here["restore-agree"] = self._agree
        backups.here["restore-schema"] = self._note_schema
        backups.here["restore-rollback"] = self._roll_back
        backups.here["restore-restart"] = self._restart

    def _hold(self, run: Run, step: Step, told: Told) -> Any:
        """Nobody writes what would be thrown away; a mode that people have switched on stays as it is."""
        held = []
        for app, environment in _environments(run):
            if self._parts.state.environment(app, environment).serving is None:
                continue
            on = [m.mode for m in self._settings.modes(app, environment) if not _is_ours(m.message, run)]
            if MAINTENANCE in on or READ_ONLY in on:
                continue
            self._settings.switch_on(
                app,
                environment,
                READ_ONLY,
                message=f"Data are being brought back; writing is possible again in a moment. ({run.id})",
                allow=(),
                until=None,
                actor=run.actor,
            )
            held.append(f"{app} {environment}")
        return {"read_only": held}

    def _release(self, run: Run, step: Step, told: Told) -> Any:
        since: list[datetime] = []
        for app, environment in _environments(run):
            for mode in self._settings.modes(app, environment):
                if not _is_ours(mode.message, run):
                    continue
                since.append(mode.since)
                try:
                    self._settings.switch_off(
                        app, environment, mode.mode, actor=run.actor, reason=f"{run.id} is over"
                    )
                except HomeportError as e:
                    if e.type is not MODE_IS_OFF:
                        raise
        seconds = (self._parts.clock.now() - min(since)).total_seconds() if since else None
        return {"read_only_seconds": round(seconds, 3) if seconds is not None else None}

    def _agree(self, run: Run, step: Step, told: Told) -> Any:
        """Logins of then get the passwords of now; a database that did not exist then is there, empty."""
        stores = self._parts.stores
        for row in stores.state.databases(cluster=step.request["cluster"]):
            if row.state == "ready":
                cluster = stores.databases.cluster_of(row)
                wanted = Database(
                    row.name,
                    dedicated=cluster.dedicated,
                    extensions=row.extensions,
                    pool=row.pool,
                    connections=row.connections,
                )
                stores.databases.ensure(row.app, row.environment, (wanted,), row.replicas)
        return {}

    def _note_schema(self, run: Run, step: Step, told: Told) -> Any:
        """What contracts had taken away is there again: releases that need it can serve."""
        taken = run.result_of(plan.TAKE) or run.result_of(plan.DUMP) or {}
        versions = frozenset(taken.get("migrations", ()))
        app, environment = AppName(run.request["app"]), run.request["environment"]
        store = self._parts.state.store
        mine = [c for c in contracts.all_of(store, app) if c.environment == environment]
        with store.transaction(run.actor) as tx:
            contracts.reverted(tx, mine, run.request["database"], versions)
        serving = self._parts.state.environment(app, EnvironmentName(environment)).serving
        if serving is None or not versions:
            return {}
        spec = self._parts.spec(app, EnvironmentName(environment), serving)
        folders = [
            self._parts.release_directory(app, serving) / d.migrations
            for d in spec.databases
            if d.name == run.request["database"] and d.migrations
        ]
        return {"migrations": needed(sorted(versions), folders)}

    def _roll_back(self, run: Run, step: Step, told: Told) -> Any:
        """The release before, by a change whose id follows from the run's: done again it is found."""
        app, environment = AppName(run.request["app"]), EnvironmentName(run.request["environment"])
        release = ReleaseId(step.request["release"])
        id = change_of(run)
        state = self._parts.state
        known = any(c.id == id for c in state.changes(app, limit=50))
        if not known:
            if state.environment(app, environment).serving == release:
                return {"change": None, "serving": release}
            self._rollouts.rollback(
                app, environment, release=release, replace_running=True, actor=run.actor, id=id
            )
        change = self._ended(id, told)
        verdict = (change.result or {}).get("verdict")
        if verdict != Verdict.PROMOTED.value:
            raise NOTHING_SERVES.error(
                f"cannot take the data back: {release} did not come to serve",
                hint=f"homeport events tells why; the database was not touched ({id})",
            )
        return {"change": id, "serving": release}

    def _restart(self, run: Run, step: Step, told: Told) -> Any:
        """What has the former files open is replaced."""
        app, environment = AppName(run.request["app"]), EnvironmentName(run.request["environment"])
        id = change_of(run)
        if not any(c.id == id for c in self._parts.state.changes(app, limit=50)):
            self._rollouts.restart(app, environment, actor=run.actor, id=id)
        change = self._ended(id, told)
        if (change.result or {}).get("verdict") != Verdict.PROMOTED.value:
            raise NOTHING_SERVES.error(
                f"cannot restart {environment} of {app}: its instances may have the former files open",
                hint=f"homeport restart ({id})",
            )
        return {"change": id}

    def _ended(self, id: ChangeId, told: Told) -> Change:
        while not (change := self._parts.state.change(id)).done:
            told({"change": id})
            self._parts.clock.sleep(LOOK)
        return change


def needed(versions: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Which of the migrations that the data lack are among a release's; all, where it has them elsewhere."""
    if not all(folder.is_dir() for folder in folders) or not folders:
        return list(versions)
    files = [path.name for folder in folders for path in folder.iterdir()]
    return [v for v in versions if any(f == v or f.startswith((f"{v}_", f"{v}.")) for f in files)]


def _is_ours(message: str, run: Run) -> bool:
    return f"({run.id})" in message


def _environments(run: Run) -> list[tuple[AppName, EnvironmentName]]:
    asked = run.request.get("environments") or [[run.request["app"], run.request["environment"]]]
    return [(AppName(app), EnvironmentName(environment)) for app, environment in asked]
