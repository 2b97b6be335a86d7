"""Migrations of a change: run in a child, told as they happen, recorded."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from homeport.database import restore_points
from homeport.database.migrations.model import Options
from homeport.database.worker import LONGEST, Told, Worker, nobody
from homeport.guard.errors import UNKNOWN_SECRET
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.rollout import build as building
from homeport.rollout import desired
from homeport.rollout.data import contracts, events
from homeport.rollout.data.wanted import NO_DATABASE, database_of, sqlite_file
from homeport.rollout.model import Change, ChangeKind
from homeport.rollout.parts import Parts
from homeport.runtime import commands
from homeport.spec.database_names import variable_of
from homeport.spec.model import Spec
from homeport.spec.model_database import Database
from homeport.system import process

TOLD_EVERY = 5.0
"""Seconds between two events that tell that a migration waits."""
EXPAND = {"subset": "expand"}

Stop = Callable[[], str | None]


class Migrations:
    """Every call may be made again after a crash: what was done is found done."""

    def __init__(self, parts: Parts, worker: Worker) -> None:
        self._parts = parts
        self._worker = worker

    def run(self, change: Change, name: str, stop: Stop) -> None:
        """Bring a database to what the change wants. Raises the errors of migrations."""
        parts = self._parts
        app, environment, release = change.app, change.environment, change.goal.release
        spec = parts.spec(app, environment, release)
        database = database_of(spec, name)
        with self.place(app, environment, spec, database, change) as place:
            if database.migrate:
                self._tool(change, spec, database, place, stop)
                return
            result = self._worker.run(
                "migrate",
                {
                    **place,
                    "directory": self._directory(change, database),
                    "goal": dict(change.goal.schema) or EXPAND,
                    "first": change.kind is not ChangeKind.MIGRATE and self._is_first(change),
                },
                name=f"{app}.{environment}.migrate-{name}",
                told=self._teller(change, name),
                stop=stop,
            )
        self._record(change, name, result)

    def undo(self, change: Change, name: str, stop: Stop) -> None:
        """Take back what this change applied."""
        app, environment = change.app, change.environment
        spec = self._parts.spec(app, environment, change.goal.release)
        database = database_of(spec, name)
        with self.place(app, environment, spec, database, change) as place:
            place.pop("point", None)
            self._worker.run(
                "undo",
                {**place, "directory": self._directory(change, database), "change": change.id},
                name=f"{app}.{environment}.migrate-{name}",
                told=self._teller(change, name),
                stop=stop,
            )

    def failed(self, change: Change) -> None:
        """Contracts that the change was to carry out are not begun again by themselves."""
        known = contracts.all_of(self._parts.state.store, change.app)
        with self._parts.state.store.transaction(change.actor) as tx:
            for c in known:
                if (c.environment, c.release, c.state) == (
                    change.environment,
                    change.goal.release,
                    contracts.WAITING,
                ):
                    contracts.record(
                        tx, c.app, c.environment, c.release, c.name, c.versions, contracts.FAILED
                    )

    def ask(
        self,
        work: str,
        app: AppName,
        environment: EnvironmentName,
        name: str,
        request: Mapping[str, Any],
        *,
        told: Told = nobody,
        release: ReleaseId | None = None,
        spec: Spec | None = None,
        mark: str = "",
        stop: Stop = lambda: None,
        timeout: float = LONGEST,
    ) -> Any:
        """Have a piece of work done on a database that changes no schema. See :data:`homeport.database.works.WORKS`.

        ``release``: by whose spec and files, those of the one that serves by default; ``spec``: by this one, with
        files in the request. A child with the same ``mark`` that runs is ended first.
        """
        parts = self._parts
        files: dict[str, str] = {}
        if spec is None:
            chosen = release or parts.state.environment(app, environment).serving
            if chosen is None:
                raise NO_DATABASE.error(
                    f"cannot look at databases of {app} {environment}: nothing serves there",
                    hint="homeport deploy",
                )
            spec = parts.spec(app, environment, chosen)
            directory = database_of(spec, name).migrations
            if directory and "files" not in request:
                files = {"directory": str(parts.release_directory(app, chosen) / directory)}
        with self.place(app, environment, spec, database_of(spec, name), None) as place:
            return self._worker.run(
                work,
                {**place, **files, **request},
                name=f"{app}.{environment}.{work}-{name}{mark}",
                told=told,
                stop=stop,
                timeout=timeout,
            )

    def inspect(self, work: str, request: Mapping[str, Any], *, mark: str) -> Any:
        """Have a piece of work done that needs no database."""
        return self._worker.run(work, request, name=f"{work}{mark}", timeout=LONGEST)

    # Within

    @contextlib.contextmanager
    def place(
        self,
        app: AppName,
        environment: EnvironmentName,
        spec: Spec,
        database: Database,
        change: Change | None,
    ) -> Iterator[dict[str, Any]]:
        """How a child reaches a database, and with which rights; passwords in it are good inside only."""
        parts = self._parts
        options: dict[str, Any] = {
            "lock_timeout": database.lock_timeout,
            "statement_timeout": database.statement_timeout,
            "by": f"{change.actor} ({change.id})" if change is not None else "",
            "release": change.goal.release if change is not None else "",
        }
        place: dict[str, Any] = {"engine": database.engine}
        if database.engine == "sqlite":
            storage, file = sqlite_file(spec, database, parts.storage(app, environment, spec))
            yield {**place, "storage": storage, "path": file, "options": _options(options)}
            return
        if database.url:
            versions = parts.vault.versions(app, environment)
            if database.url not in versions:
                raise UNKNOWN_SECRET.error(
                    f"cannot reach database {database.name}: no secret {database.url}",
                    hint=f"homeport secrets set {database.url}",
                )
            url = parts.vault.reveal(app, environment, database.url)
            yield {**place, "url": url, "admin": url, "options": _options(options)}
            return
        databases = parts.stores.databases
        row = databases.get(app, environment, database.name)
        options |= {"owner": row.owner, "reader": row.role}
        with databases.owner_url(app, environment, database.name) as secret:
            admin = databases.admin_url(app, environment, database.name)
            if change is not None:
                label = restore_points.name_of(row, f"before_{change.goal.release}", parts.clock.now())
                place["point"] = {"url": admin, "name": label}
            yield {**place, "url": secret.reveal(), "admin": admin, "options": _options(options)}

    def _directory(self, change: Change, database: Database) -> str:
        parts = self._parts
        where = parts.prepare_run_directory(change.app, change.environment, change.goal.release)
        return str(where / database.migrations)

    def _is_first(self, change: Change) -> bool:
        return self._parts.state.environment(change.app, change.environment).serving is None

    def _tool(
        self, change: Change, spec: Spec, database: Database, place: Mapping[str, Any], stop: Stop
    ) -> None:
        parts = self._parts
        app, environment, release = change.app, change.environment, change.goal.release
        if database.engine == "sqlite":
            raise NO_DATABASE.error(
                f"cannot migrate database {database.name}: a command of the app's own is for PostgreSQL",
                hint='run it in a hook: [hooks] before-start = "…"',
            )
        directory = parts.prepare_run_directory(app, environment, release)
        name = f"{app}.{environment}.migrate-{database.name}"
        given = {
            **commands.BASE_ENVIRONMENT,
            **desired.variables(
                app, environment, release, "", spec, change.config, parts.storage(app, environment, spec)
            ),
            **parts.vault.values(app, environment, dict(change.config.secrets)),
            process.OWNER: str(parts.data_dir),
            process.INSTANCE: f"{name}.tool",
        }
        log = building.BuildLog(parts.build_log(app, release), parts.masker(), append=True)
        tell = self._teller(change, database.name)

        def told(kind: str, values: Mapping[str, Any]) -> None:
            if kind == "output":
                log.write(str(values["text"]).encode())
            elif kind != "progress" or values["kind"] in ("waiting", "retry"):
                tell(kind, values)

        log.write(f"$ {database.migrate}  # migrates {database.name} in {environment}\n".encode())
        process.kill_marked(str(parts.data_dir), f"{name}.tool")
        try:
            ran = self._worker.run(
                "tool",
                {
                    **place,
                    "command": database.migrate,
                    "directory": str(directory),
                    "environment": given,
                    "variable": variable_of(database),
                    "timeout": database.statement_timeout,
                    "user": next((p.user for p in spec.processes if p.user is not None), None),
                },
                name=name,
                told=told,
                stop=stop,
            )
        finally:
            process.kill_marked(str(parts.data_dir), f"{name}.tool")
            log.close()
        with parts.state.store.transaction(change.actor) as tx:
            tx.append(
                events.ToolMigrated(
                    app=app,
                    environment=environment,
                    change=change.id,
                    name=database.name,
                    command=database.migrate,
                    seconds=round(ran["seconds"], 3),
                    attempts=ran["attempts"],
                )
            )

    def _teller(self, change: Change, name: str) -> Told:
        """Journals what a child says: each migration as it is done, that it waits now and then."""
        parts = self._parts
        tag: dict[str, Any] = {
            "app": change.app,
            "environment": change.environment,
            "change": change.id,
            "name": name,
        }
        waited = float("-inf")
        attempts: dict[str, int] = {}

        def told(kind: str, values: Mapping[str, Any]) -> None:
            nonlocal waited
            if kind == "point":
                row = parts.stores.databases.get(change.app, change.environment, name)
                restore_points.record(
                    parts.state.store, row, values["name"], values["lsn"], parts.clock.now(), change=change.id
                )
            elif kind == "progress" and values["kind"] in ("waiting", "retry"):
                if parts.clock.monotonic() - waited < TOLD_EVERY:
                    return
                waited = parts.clock.monotonic()
                why = parts.masker().mask_text(values["text"])
                with parts.state.store.transaction(change.actor) as tx:
                    tx.append(
                        events.MigrationWaits(why=why, seconds=round(float(values["seconds"]), 3), **tag)
                    )
            elif kind == "progress" and values["kind"] == "started":
                attempts[values["version"]] = attempts.get(values["version"], 0) + 1
            elif kind == "progress" and values["kind"] in ("applied", "reverted"):
                with parts.state.store.transaction(change.actor) as tx:
                    tx.append(
                        events.MigrationApplied(
                            release=change.goal.release,
                            version=values["version"],
                            filename=values["text"],
                            direction="up" if values["kind"] == "applied" else "down",
                            seconds=round(float(values["seconds"]), 3),
                            attempts=attempts.get(values["version"], 1),
                            **tag,
                        )
                    )

        return told

    def _record(self, change: Change, name: str, result: Mapping[str, Any]) -> None:
        """What is left for later, what was carried out, and what is there again."""
        app, environment, release = change.app, change.environment, change.goal.release
        done = [d["version"] for d in result["done"]]
        waiting = result["waiting"]
        schema = dict(change.goal.schema)
        known = contracts.all_of(self._parts.state.store, app)
        mine = [c for c in known if c.environment == environment]
        with self._parts.state.store.transaction(change.actor) as tx:
            if schema.get("direction") == "down":
                contracts.reverted(tx, mine, name, frozenset(done))
            elif not schema:
                contracts.record(tx, app, environment, release, name, waiting, contracts.WAITING)
                if waiting:
                    tx.append(
                        events.ContractsWait(
                            app=app,
                            environment=environment,
                            change=change.id,
                            name=name,
                            release=release,
                            versions=waiting,
                        )
                    )
            else:
                for c in mine:
                    # Those that an earlier release left behind are among them.
                    if c.name == name and set(c.versions) <= set(result["applied"]):
                        contracts.record(tx, app, environment, c.release, name, c.versions, contracts.DONE)


def _options(values: Mapping[str, Any]) -> dict[str, Any]:
    return asdict(Options(**values))
