"""What people ask of the schema of a database: how it stands, what would be run, whether it drifted, a trial.

Nothing here changes a schema; that is done by a change, see :meth:`homeport.rollout.rollouts.Rollouts.migrate`.
"""

import base64
import posixpath
import secrets
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from homeport.database.errors import NOT_HERE
from homeport.database.migrations.errors import BAD_FILE, TRIAL_FAILED
from homeport.journal.model import Event
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.rollout import config as configuration
from homeport.rollout.data import contracts
from homeport.rollout.data.migrations import Migrations, Stop
from homeport.rollout.data.wanted import NO_DATABASE, database_of, migrated_by, no_migrations
from homeport.rollout.model import ReleaseState
from homeport.rollout.parts import Parts
from homeport.runtime import commands
from homeport.spec.database_names import MAIN, variable_of
from homeport.spec.migration_names import LARGEST
from homeport.spec.model import Spec
from homeport.spec.model_database import Database
from homeport.system import process

ASK_LIMIT = 110.0
TRIAL_LIMIT = 600.0
"""Seconds."""
MOST_FILES = 5000
MOST_BYTES = 50_000_000
"""Of all files of an archive: they are held in memory."""

Files = Sequence[tuple[str, str]]
"""[(name, content in base64)]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationsRepaired(Event):
    """What Homeport's table says of migrations was corrected by hand; the schema was not touched."""

    kind: ClassVar[str] = "migration.repaired"
    name: str
    repairs: list[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which database, and by which files: ``files``, or those of ``release``, or of the one that serves."""

    app: AppName
    environment: EnvironmentName
    database: str | None = None
    """None: the only one that has migrations, or else ``main``."""
    release: ReleaseId | None = None
    files: Files | None = None


class Schemas:
    """Every call may be made from any thread."""

    def __init__(self, parts: Parts, migrations: Migrations) -> None:
        self._parts = parts
        self._migrations = migrations

    def chosen(self, asked: Asked) -> Database:
        """The database that is meant. Raises ``rollout.no_database``."""
        return _chosen(self._spec(asked), asked.database)

    def ask(self, work: str, asked: Asked, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A piece of work of :data:`homeport.database.works.WORKS` on SQL files."""
        database = self.chosen(asked)
        if not database.migrations and asked.files is None:
            raise no_migrations(self._spec(asked), database.name)
        return {"database": database.name, **self._ask(work, asked, database, request or {})}

    def goal_up(self, asked: Asked, to: str, out_of_order: bool) -> dict[str, Any]:
        """What ``up`` means: all, but for contracts that wait until their release has served its watch."""
        waits = self.waiting(asked.app, asked.environment, self.chosen(asked).name)
        return {
            "direction": "up",
            "subset": "expand" if waits else "all",
            "to": to,
            "out_of_order": out_of_order,
        }

    def waiting(self, app: AppName, environment: EnvironmentName, name: str) -> list[str]:
        """Versions of contracts that begin by themselves when the release that serves has served its watch."""
        serving = self._parts.state.environment(app, environment).serving
        return [
            version
            for c in contracts.all_of(self._parts.state.store, app)
            if (c.environment, c.name, c.release, c.state) == (environment, name, serving, contracts.WAITING)
            for version in c.versions
        ]

    def failed(self, app: AppName, environment: EnvironmentName, name: str) -> list[str]:
        """Versions of contracts that were tried and failed: they are not tried again by themselves."""
        return [
            version
            for c in contracts.all_of(self._parts.state.store, app)
            if (c.environment, c.name, c.state) == (environment, name, contracts.FAILED)
            for version in c.versions
        ]

    def verify(self, asked: Asked) -> dict[str, Any]:
        """Raises ``database.not_here`` where the login of an attached database may not make a scratch one."""
        database = self.chosen(asked)
        try:
            return {"database": database.name, **self._ask("verify", asked, database, {}, TRIAL_LIMIT)}
        except HomeportError as e:
            if database.url and e.type is TRIAL_FAILED:
                raise NOT_HERE.error(
                    "cannot verify: migrations are run anew on a scratch database, and the login of this attached "
                    "database may not make one",
                    hint="give its role CREATEDB, or compare the output of homeport migrate dump by hand",
                    details=[e.sentence, *e.details],
                ) from e
            raise

    def dump(self, asked: Asked) -> dict[str, Any]:
        database = _any(self._spec(asked), asked.database)
        return {"database": database.name, **self._ask("dump", asked, database, {})}

    def repair(
        self,
        asked: Asked,
        *,
        choice: str,
        adopt: bool,
        agreed: Sequence[Mapping[str, Any]] | None,
        actor: str,
    ) -> dict[str, Any]:
        """What would be repaired; with ``agreed``, as an earlier call gave it, it is."""
        request: dict[str, Any] = {"choice": choice, "adopt": adopt}
        if agreed is not None:
            request["agreed"] = [dict(r) for r in agreed]
        found = self.ask("repair", asked, request)
        if found["done"] and found["repairs"]:
            with self._parts.state.store.transaction(actor) as tx:
                tx.append(
                    MigrationsRepaired(
                        app=asked.app,
                        environment=asked.environment,
                        name=found["database"],
                        repairs=[r["sentence"] for r in found["repairs"]],
                    )
                )
        return found

    def lint(self, asked: Asked, engine: str, *, every: bool) -> dict[str, Any]:
        """What is pending; all files where ``every``, or where there is no database yet."""
        if not every:
            try:
                return self.ask("lint", asked)
            except HomeportError as e:
                if asked.files is None or e.kind is not NO_DATABASE.kind:
                    raise
        files: Mapping[str, Any] = (
            {"files": asked.files} if asked.files is not None else {"directory": self._directory(asked)}
        )
        return {"database": None, **self.inspect("lint", {"engine": engine, **files})}

    def inspect(self, work: str, request: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._migrations.inspect(work, request, mark=_mark())
        return found

    def check_archive(self, spec: Spec, archive: Path) -> None:
        """Raise ``database.migration_invalid`` for files of an archive that could never be run."""
        for database in spec.databases:
            files = files_of(archive, database.migrations) if database.migrations else []
            if files:
                self.inspect("check", {"engine": database.engine, "files": files})

    # Trials

    def trial(
        self, asked: Asked, *, spec: Spec | None = None, mark: str = "", stop: Stop = lambda: None
    ) -> dict[str, Any]:
        """Try what is pending on a scratch database with the schema of the real one. Nothing else is changed.

        With ``spec``, that of a release to come, ``files`` are its files and ``release`` is where it was built.
        Raises what keeps it from being tried at all; what the trial finds is in what it returns.
        """
        by = spec or self._spec(asked)
        database = _chosen(by, asked.database)
        mark = mark or _mark()
        if database.migrate:
            return self._trial_of_tool(asked, by, database, mark, stop)
        if not database.migrations and asked.files is None:
            raise no_migrations(by, database.name)
        found = self._migrations.ask(
            "trial",
            asked.app,
            asked.environment,
            database.name,
            {"files": asked.files} if asked.files is not None else {},
            release=asked.release,
            spec=spec,
            mark=mark,
            stop=stop,
            timeout=TRIAL_LIMIT,
        )
        return {"database": database.name, "how": "trial", **found}

    def _trial_of_tool(
        self, asked: Asked, spec: Spec, database: Database, mark: str, stop: Stop
    ) -> dict[str, Any]:
        """It gets none of the environment's secrets: nobody has approved it yet."""
        parts = self._parts
        app, environment = asked.app, asked.environment
        known = parts.state.environment(app, environment)
        release = asked.release or known.serving
        if release is None or parts.state.release(app, release).state is not ReleaseState.READY:
            raise TRIAL_FAILED.error(
                f"cannot try {database.migrate}: it is part of a release, and none was built yet",
                hint="a build stage before the gate builds one",
            )
        name = f"{app}.{environment}.trial-tool-{database.name}{mark}"
        given = {
            **commands.BASE_ENVIRONMENT,
            **configuration.from_spec(spec),
            **dict(known.variables),
            **configuration.given(app, environment, release, ""),
            process.OWNER: str(parts.data_dir),
            process.INSTANCE: f"{name}.tool",
        }
        try:
            found = self._migrations.ask(
                "trial-tool",
                app,
                environment,
                database.name,
                {
                    "command": database.migrate,
                    "directory": str(parts.release_directory(app, release)),
                    "environment": given,
                    "variable": variable_of(database),
                    "timeout": min(database.statement_timeout, TRIAL_LIMIT / 2),
                    "user": next((p.user for p in spec.processes if p.user is not None), None),
                },
                spec=spec,
                mark=mark,
                stop=stop,
                timeout=TRIAL_LIMIT,
            )
        finally:
            process.kill_marked(str(parts.data_dir), f"{name}.tool")
        return {"database": database.name, "how": "tool", "command": database.migrate, **found}

    # Within

    def _spec(self, asked: Asked) -> Spec:
        now = self._parts.state.environment(asked.app, asked.environment)
        release = asked.release or now.serving
        if release is None:
            raise NO_DATABASE.error(
                f"cannot look at databases of {asked.app} {asked.environment}: nothing serves there",
                hint="homeport deploy",
            )
        return self._parts.spec(asked.app, asked.environment, release)

    def _directory(self, asked: Asked) -> str:
        now = self._parts.state.environment(asked.app, asked.environment)
        release = asked.release or now.serving or ReleaseId("")
        database = self.chosen(asked)
        return str(self._parts.release_directory(asked.app, release) / database.migrations)

    def _ask(
        self,
        work: str,
        asked: Asked,
        database: Database,
        request: Mapping[str, Any],
        timeout: float = ASK_LIMIT,
    ) -> dict[str, Any]:
        files = {"files": asked.files} if asked.files is not None else {}
        found: dict[str, Any] = self._migrations.ask(
            work,
            asked.app,
            asked.environment,
            database.name,
            {**files, **request},
            release=asked.release,
            mark=_mark(),
            timeout=timeout,
        )
        return found


def files_of(archive: Path, directory: str) -> list[tuple[str, str]]:
    """The SQL files that lie in a directory of a source archive; [] where it has none.

    Of one that is too large, so much that this shows. Raises ``database.migration_invalid`` for too much in all.
    """
    wanted = posixpath.normpath(directory)
    found: list[tuple[str, str]] = []
    total = 0
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            where, name = posixpath.split(posixpath.normpath(member.name))
            if (where or ".") != wanted or not name.endswith(".sql") or name.startswith("."):
                continue
            file = tar.extractfile(member) if member.isreg() else None
            if file is None:
                continue
            total += min(member.size, LARGEST + 1)
            if total > MOST_BYTES or len(found) == MOST_FILES:
                raise BAD_FILE.error(
                    f"cannot use the migrations in {directory}: they have more than {MOST_BYTES // 1_000_000} MB, or "
                    f"are more than {MOST_FILES} files",
                    hint="load data apart from migrations, for instance with a one-off command",
                )
            found.append((name, base64.b64encode(file.read(LARGEST + 1)).decode()))
    return found


def _chosen(spec: Spec, name: str | None) -> Database:
    known = migrated_by(spec)
    if name is not None or not known:
        return database_of(spec, name or MAIN)
    return database_of(spec, known[0] if len(known) == 1 else _main_of(spec, known))


def _any(spec: Spec, name: str | None) -> Database:
    known = tuple(d.name for d in spec.databases)
    if name is not None or not known:
        return database_of(spec, name or MAIN)
    return database_of(spec, known[0] if len(known) == 1 else _main_of(spec, known))


def _main_of(spec: Spec, known: Sequence[str]) -> str:
    if MAIN not in known:
        raise NO_DATABASE.error(
            f"cannot tell which database of {spec.app} is meant",
            hint=f"--database NAME; there are: {', '.join(known)}",
        )
    return MAIN


def _mark() -> str:
    """Each call is for itself: none ends the child of another."""
    return f"-{secrets.token_hex(4)}"
