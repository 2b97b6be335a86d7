"""Operations on databases and caches."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter

from homeport.api import problems, wire
from homeport.api import wire_databases as wired
from homeport.api.parameters import BROKEN, ENVIRONMENT, REFUSED, Actor, App, Environment
from homeport.api.services import Services
from homeport.database.errors import NOT_HERE
from homeport.database.insight.model import version_text
from homeport.database.model import Provisioned
from homeport.kernel.errors import Kind
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.data import dropping, known
from homeport.rollout.data.looking import Standing, require_postgresql
from homeport.rollout.data.rounds import Run
from homeport.rollout.data.wanted import sqlite_urls
from homeport.spec.model_database import Upkeep
from homeport.spec.schedule import Schedule

Database = Annotated[wire.Name, PathParameter(examples=["main"], description="its name in homeport.toml")]
Stored = Annotated[
    wired.DatabaseName, PathParameter(examples=["shop_production"], description="as PostgreSQL calls it")
]
PATH = ENVIRONMENT + "/databases/{database}"
READ = problems.responses(Kind.NOT_FOUND, *BROKEN)


def router(s: Services) -> APIRouter:
    found = APIRouter()
    for part in (_looking(s), _credentials(s), _holding(s), _dropping(s)):
        found.include_router(part)
    return found


def _looking(s: Services) -> APIRouter:
    router = APIRouter()

    @router.get(
        "/databases", responses=READ, summary="Every database, by app and environment, as it is just now"
    )
    def get_databases(app: Annotated[wire.Name | None, Query()] = None) -> list[wired.DatabaseOut]:
        return [_database(x) for x in s.databases.looks.all_of(AppName(app) if app else None)]

    @router.get(PATH + "/sizes", responses=REFUSED, summary="Tables and indexes, the largest first")
    def get_sizes(app: App, environment: Environment, database: Database) -> wired.SizesOut:
        found = s.databases.looks.sizes(AppName(app), EnvironmentName(environment), database)
        return wired.SizesOut.model_validate(found)

    @router.get(PATH + "/insight", responses=REFUSED, summary="What is wrong with it, and what mends that")
    def get_insight(
        app: App,
        environment: Environment,
        database: Database,
        rule: Annotated[list[wired.RuleName] | None, Query(description="only these")] = None,
    ) -> wired.InsightOut:
        found = s.databases.looks.insight(AppName(app), EnvironmentName(environment), database, rule)
        return wired.InsightOut.model_validate(found)

    @router.get(
        ENVIRONMENT + "/maintenance", responses=READ, summary="Upkeep by the clock, with its last outcome"
    )
    def get_maintenance(app: App, environment: Environment) -> list[wired.UpkeepOut]:
        s.parts.state.environment(AppName(app), EnvironmentName(environment))
        runs = s.databases.rounds.runs()
        return [
            _upkeep(s, key[2], upkeep, runs.get(key))
            for key, upkeep in sorted(s.databases.rounds.wanted(AppName(app)).items())
            if key[1] == environment
        ]

    @router.get("/caches", responses=READ, summary="Every cache, as it is just now")
    def get_caches(app: Annotated[wire.Name | None, Query()] = None) -> list[wired.CacheOut]:
        return [
            wired.CacheOut(
                app=c.app,
                environment=c.environment,
                name=c.name,
                running=c.running,
                port=c.port,
                used=c.used,
                limit=c.limit,
                keys=c.keys,
                persistent=c.persistent,
            )
            for c in s.parts.stores.caches.list()
            if app in (None, c.app)
        ]

    return router


def _credentials(s: Services) -> APIRouter:
    router = APIRouter()

    @router.post(PATH + "/reveal", responses=REFUSED, summary="Its URL; that it was asked is recorded")
    def post_reveal(
        app: App, environment: Environment, database: Database, actor: Actor = "api"
    ) -> wired.UrlOut:
        k = known.one(s.parts, AppName(app), EnvironmentName(environment), database)
        if k.kind == "sqlite":
            now = s.parts.state.environment(k.app, k.environment)
            assert now.serving is not None
            spec = s.parts.spec(k.app, k.environment, now.serving)
            url = sqlite_urls(spec, s.parts.storage(k.app, k.environment, spec))[k.variable]
        else:
            known.url_of(s.parts, k)
            url = s.settings.reveal(k.app, k.environment, k.spec.url or k.variable, actor=actor)
        return wired.UrlOut(name=k.name, variable=k.variable, url=url)

    @router.post(
        PATH + "/shells",
        status_code=201,
        responses=REFUSED,
        summary="A login for a person, good while the calling process lives",
    )
    def post_shell(
        app: App,
        environment: Environment,
        database: Database,
        wanted: wired.ShellRequest,
        actor: Actor = "api",
    ) -> wired.ShellOut:
        shell = s.databases.shells.open(
            AppName(app),
            EnvironmentName(environment),
            database,
            read_only=wanted.read_only,
            caller=wanted.caller,
            actor=actor,
        )
        return wired.ShellOut(
            program=shell.program,
            arguments=list(shell.arguments),
            environment=shell.environment,
            user=shell.user,
            fallback=list(shell.fallback),
            note=shell.note,
        )

    @router.get(PATH + "/rotation", responses=READ, summary="Why the former login is valid still")
    def get_rotation(app: App, environment: Environment, database: Database) -> wired.RotationOut:
        found = s.databases.rotations.under_way(AppName(app), EnvironmentName(environment), database)
        if found is None:
            return wired.RotationOut(since=None, serves=True, warm=0, others=0)
        row, seen = found
        return wired.RotationOut(
            since=row.rotated_at,
            serves=seen.serves_new or not seen.serves,
            warm=seen.warm,
            others=seen.others,
        )

    @router.post(
        PATH + "/rotations",
        status_code=202,
        responses=REFUSED,
        summary="Give the app another login with a new password; the former one is valid meanwhile",
    )
    def post_rotation(
        app: App,
        environment: Environment,
        database: Database,
        wanted: wired.RotateRequest,
        actor: Actor = "api",
    ) -> wired.RotatedDatabaseOut:
        change = s.databases.rotations.rotate(
            AppName(app), EnvironmentName(environment), database, now=wanted.now, actor=actor
        )
        row = s.parts.stores.state.database(app, environment, database)
        rolls = change is not None and not change.done
        return wired.RotatedDatabaseOut(
            name=database,
            state="retired" if row is None or row.previous is None else "rolling" if rolls else "overlap",
            change=s.change(change) if change is not None else None,
        )

    return router


def _holding(s: Services) -> APIRouter:
    router = APIRouter()

    def provisioned(app: str, environment: str, database: str, what: str) -> Provisioned:
        k = known.one(s.parts, AppName(app), EnvironmentName(environment), database)
        require_postgresql(k, what)
        if k.row is None:
            raise NOT_HERE.error(
                f"cannot {what} {k.label}: Homeport's pooler is not before it, and somebody else runs it",
                hint="ask who runs it",
            )
        return k.row

    @router.post(
        PATH + "/pause",
        status_code=204,
        responses=REFUSED,
        summary="Hold clients between two transactions, for two minutes at most",
    )
    def post_pause(
        app: App,
        environment: Environment,
        database: Database,
        wanted: wired.HoldRequest,
        actor: Actor = "api",
    ) -> None:
        provisioned(app, environment, database, "hold the clients of")
        s.parts.stores.databases.pause(app, environment, database, timeout=wanted.timeout, actor=actor)

    @router.post(PATH + "/resume", status_code=204, responses=REFUSED, summary="Let clients go on")
    def post_resume(app: App, environment: Environment, database: Database, actor: Actor = "api") -> None:
        provisioned(app, environment, database, "let go on the clients of")
        s.parts.stores.databases.resume(app, environment, database, actor=actor)

    @router.post(
        PATH + "/restart",
        responses=REFUSED,
        summary="Restart its server, while the pooler holds the clients of every database there",
    )
    def post_restart(
        app: App,
        environment: Environment,
        database: Database,
        wanted: wired.HoldRequest,
        actor: Actor = "api",
    ) -> wired.RestartedOut:
        row = provisioned(app, environment, database, "restart the server of")
        databases = s.parts.stores.databases
        began = s.parts.clock.monotonic()
        cut = databases.restart(databases.cluster_of(row), timeout=wanted.timeout, actor=actor)
        return wired.RestartedOut(
            cluster=row.cluster,
            seconds=round(s.parts.clock.monotonic() - began, 3),
            cut_off=[r.database for r in cut],
        )

    return router


def _dropping(s: Services) -> APIRouter:
    router = APIRouter()

    @router.delete(
        "/databases/{stored}",
        responses=REFUSED,
        summary="Drop a database that nothing uses, with all that is in it",
    )
    def delete_database(
        stored: Stored,
        confirm: Annotated[str, Query(max_length=63, description="its name, once more")],
        app: Annotated[wire.Name | None, Query()] = None,
        environment: Annotated[wire.Name | None, Query()] = None,
        actor: Actor = "api",
    ) -> wired.DroppedOut:
        row = dropping.drop(
            s.parts,
            stored,
            app=AppName(app) if app else None,
            environment=EnvironmentName(environment) if environment else None,
            confirm=confirm,
            actor=actor,
        )
        return wired.DroppedOut(
            app=row.app,
            environment=row.environment,
            name=row.name,
            database=row.database,
            cluster=row.cluster,
        )

    return router


def _database(x: Standing) -> wired.DatabaseOut:
    k = x.known
    row = k.row
    return wired.DatabaseOut.model_validate(
        {
            "app": k.app,
            "environment": k.environment,
            "name": k.name,
            "engine": k.spec.engine,
            "kind": k.kind,
            "state": x.state,
            "variable": k.variable,
            "cluster": row.cluster if row is not None else None,
            "database": row.database if row is not None else None,
            "version": version_text(x.version) if x.version else None,
            "bytes": x.bytes,
            "connections": x.used,
            "connections_allowed": x.allowed,
            "pool": row.pool if row is not None else None,
            "clients": x.clients,
            "waiting": x.waiting,
            "where": x.where,
            "rotating_since": row.rotated_at if row is not None and row.previous is not None else None,
            "problem": x.problem,
        }
    )


def _upkeep(s: Services, database: str, upkeep: Upkeep, run: Run | None) -> wired.UpkeepOut:
    outcome = dict(run.outcome) if run is not None and run.outcome else None
    last = None
    if outcome is not None:
        error = outcome.get("error") or {}
        last = wired.UpkeepOutcome(
            state=outcome["state"],
            statement=outcome["statement"],
            seconds=outcome["seconds"],
            bytes_before=(outcome.get("before") or {}).get("bytes"),
            bytes_after=(outcome.get("after") or {}).get("bytes"),
            dropped=outcome.get("dropped", []),
            left=outcome.get("left", []),
            problem=error.get("sentence", ""),
            hint=error.get("hint", ""),
        )
    return wired.UpkeepOut(
        database=database,
        name=upkeep.name,
        kind=upkeep.kind,
        target=upkeep.target,
        schedule=upkeep.schedule,
        timezone=upkeep.timezone,
        timeout=upkeep.timeout,
        next=Schedule(upkeep.schedule, upkeep.timezone).next(s.parts.clock.now()),
        started_at=run.started_at if run is not None else None,
        running=run is not None and run.is_open,
        last=last,
    )
