"""The trial at the gate: what a run would do to the databases of an environment, tried before a person approves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from homeport.journal.model import Event
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import EnvironmentName, ReleaseId
from homeport.rollout.data import contracts
from homeport.rollout.data.schemas import Asked, Schemas, files_of
from homeport.rollout.desired import spec_of
from homeport.rollout.parts import Parts
from homeport.rollout.pipeline import record
from homeport.rollout.pipeline.logs import RunFiles
from homeport.rollout.pipeline.model import Run
from homeport.spec.model import Spec
from homeport.spec.model_database import Database

Stop = Callable[[], str | None]

LINES = 40
"""Of a difference that is told."""
MOST = 20
"""Differences of a kind, problems and findings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationsTried(Event):
    """What pends is tried before a gate opens; the gate's own event has the outcome."""

    kind: ClassVar[str] = "run.tries_migrations"
    run: str
    number: int
    databases: list[str]


class GateTrial:
    def __init__(self, parts: Parts, files: RunFiles, schemas: Schemas) -> None:
        self._parts = parts
        self._files = files
        self._schemas = schemas

    def reports(
        self, run: Run, environment: EnvironmentName, release: ReleaseId | None, stop: Stop
    ) -> list[dict[str, Any]]:
        """A report for each database whose schema the run brings along, with ``note`` where it could not be tried.

        ``release``: the one that the run has built already. Never raises.
        """
        spec = spec_of(run.spec).for_environment(environment)
        wanted = [d for d in spec.databases if d.migrations or d.migrate]
        if not wanted:
            return []
        with self._parts.state.store.transaction("homeport") as tx:
            names = [d.name for d in wanted]
            tx.append(MigrationsTried(environment=environment, databases=names, **record.of_run(run)))
        return [self._report(run, environment, spec, d, release, stop) for d in wanted]

    def _report(
        self,
        run: Run,
        environment: EnvironmentName,
        spec: Spec,
        database: Database,
        release: ReleaseId | None,
        stop: Stop,
    ) -> dict[str, Any]:
        clock = self._parts.clock
        began = clock.monotonic()
        found: dict[str, Any] = {"database": database.name, "note": ""}
        try:
            found |= self._try(run, environment, spec, database, release, stop)
        except HomeportError as e:
            found["note"] = e.sentence
            found["problems"] = [
                {"code": e.code, "sentence": e.sentence, "hint": e.hint, "details": list(e.details[:LINES])}
            ]
        found["waiting"] = self._waiting(run, environment, database.name)
        found["seconds"] = round(clock.monotonic() - began, 2)
        return bounded(found)

    def _try(
        self,
        run: Run,
        environment: EnvironmentName,
        spec: Spec,
        database: Database,
        release: ReleaseId | None,
        stop: Stop,
    ) -> dict[str, Any]:
        files = files_of(self._files.source(run), database.migrations) if database.migrations else None
        request: dict[str, Any] = {"engine": database.engine, "files": files}
        if not self._is_there(run, environment, database):
            note = "there is no such database yet: this deploy makes it, and gives it its schema"
            if files is None:
                return {"how": "none", "note": note}
            checked = self._schemas.inspect("check", request)
            return {"how": "none", "note": note, "pending": _names(checked["files"])}
        if database.engine == "sqlite":
            checked = self._schemas.inspect("check", request)
            note = "SQLite: not tried; each file is one transaction"
            return {"how": "none", "note": note, "pending": _names(checked["files"])}
        asked = Asked(run.app, environment, database.name, release, files)
        return self._schemas.trial(asked, spec=spec, mark=f"-{run.id}", stop=stop)

    def _is_there(self, run: Run, environment: EnvironmentName, database: Database) -> bool:
        if environment not in {e.name for e in self._parts.state.environments(run.app)}:
            return False
        if database.url or database.engine == "sqlite":
            return True
        made = self._parts.stores.provisioned(run.app, environment)
        return database.name in {row.name for row in made}

    def _waiting(self, run: Run, environment: EnvironmentName, name: str) -> list[str]:
        """Contracts that an earlier release left, and that did not run yet."""
        return [
            version
            for c in contracts.all_of(self._parts.state.store, run.app)
            if c.environment == environment and c.name == name and c.state != contracts.DONE
            for version in c.versions
        ]


def bounded(report: dict[str, Any]) -> dict[str, Any]:
    """A report of a size that can be kept with a run. Pure."""
    found = dict(report)
    for key in ("drift", "leavings", "unstable", "changes"):
        if key in found:
            found[key] = [d | {"diff": d["diff"][:LINES]} for d in found[key][:MOST]]
    for key in ("findings", "problems"):
        if key in found:
            found[key] = found[key][:MOST]
    failure = found.get("failure")
    if failure is not None:
        found["failure"] = failure | {"details": failure["details"][:LINES]}
    return found


def brief(what: dict[str, Any]) -> dict[str, Any]:
    """What an approval lets through, as it is journaled: reports by their outcome. Pure."""
    return what | {
        "migrations": [
            {
                "database": r["database"],
                "pending": [m["filename"] for m in r.get("pending", [])],
                "how": r.get("how", "none"),
                "failed": r.get("failure") is not None,
                "note": r["note"],
            }
            for r in what.get("migrations", [])
        ]
    }


def _names(files: list[str]) -> list[dict[str, Any]]:
    return [{"filename": name, "version": name.partition("_")[0], "contract": False} for name in files]
