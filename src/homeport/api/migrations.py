"""Migrations of an environment's databases: how they stand, what would be run, trials, and running them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from homeport.api import problems, wire
from homeport.api import wire_migrations as shapes
from homeport.api.parameters import BROKEN, ENVIRONMENT, REFUSED, Actor, App, Environment, Key, once
from homeport.api.services import Services
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import PRODUCTION, AppName, EnvironmentName, ReleaseId
from homeport.rollout.data.schemas import Asked, Schemas
from homeport.rollout.model import Change, ChangeKind

NOT_CONFIRMED = declare(
    "api.migration_not_confirmed",
    Kind.CONFLICT,
    "Migrations of production, or behind a gate, are taken back only with the environment's name, once more.",
)
NOTHING_ASKED = declare(
    "api.migration_down_to_what", Kind.INVALID, "To take migrations back, it has to be said which."
)

LOOK = problems.responses(Kind.NOT_FOUND, Kind.CONFLICT, Kind.MISSING_PART, *BROKEN)
DatabaseName = Annotated[wire.Name | None, Query(description='default: the only one, or "main"')]


def router(s: Services) -> APIRouter:
    found = APIRouter()
    schemas = Schemas(s.parts, s.migrations)
    found.include_router(_looking(s, schemas))
    found.include_router(_running(s, schemas))
    return found


def _looking(s: Services, schemas: Schemas) -> APIRouter:
    router = APIRouter()
    base = ENVIRONMENT + "/migrations"

    def standing(asked: Asked) -> shapes.MigrationsOut:
        found = schemas.ask("look", asked)
        key = (asked.app, asked.environment, found["database"])
        waiting = schemas.waiting(*key)
        settled = {s["version"] for s in found["statuses"] if s["state"] in ("applied", "rolled back")}
        failed = [v for v in schemas.failed(*key) if v not in settled and v not in waiting]
        return shapes.MigrationsOut.model_validate(found | {"waiting": waiting, "failed": failed})

    @router.get(base, responses=LOOK, summary="How the migrations of what serves, or of a release, stand")
    def get_migrations(
        app: App,
        environment: Environment,
        database: DatabaseName = None,
        release: Annotated[wire.ReleaseName | None, Query()] = None,
    ) -> shapes.MigrationsOut:
        return standing(
            Asked(
                AppName(app),
                EnvironmentName(environment),
                database,
                ReleaseId(release) if release else None,
            )
        )

    @router.post(base + "/status", responses=LOOK, summary="How migrations stand, by files that are sent")
    def post_status(
        app: App, environment: Environment, wanted: shapes.DatabaseRequest
    ) -> shapes.MigrationsOut:
        return standing(_asked(app, environment, wanted))

    @router.post(
        base + "/plan", responses=LOOK, summary="What a run would do, and the SQL that it would send"
    )
    def post_plan(app: App, environment: Environment, wanted: shapes.PlanRequest) -> shapes.PlanOut:
        asked = _asked(app, environment, wanted)
        request = {"goal": _goal(schemas, asked, wanted), "steps": wanted.steps or 0}
        found = schemas.ask("plan", asked, request)
        waiting = schemas.waiting(asked.app, asked.environment, found["database"])
        return shapes.PlanOut.model_validate(found | {"waiting": waiting})

    @router.post(
        base + "/verify", responses=LOOK, summary="What is there against what the applied migrations give"
    )
    def post_verify(app: App, environment: Environment, wanted: shapes.DatabaseRequest) -> shapes.VerifyOut:
        return shapes.VerifyOut.model_validate(schemas.verify(_asked(app, environment, wanted)))

    @router.post(
        base + "/repair",
        responses=LOOK,
        summary="Correct what Homeport's table says; proposes, unless agreed",
    )
    def post_repair(
        app: App, environment: Environment, wanted: shapes.RepairRequest, actor: Actor = "api"
    ) -> shapes.RepairsOut:
        agreed = None if wanted.agreed is None else [r.model_dump() for r in wanted.agreed]
        found = schemas.repair(
            _asked(app, environment, wanted),
            choice=wanted.choice,
            adopt=wanted.adopt,
            agreed=agreed,
            actor=actor,
        )
        return shapes.RepairsOut.model_validate(found)

    @router.get(
        base + "/schema", responses=LOOK, summary="The schema as SQL, the same text for the same schema"
    )
    def get_schema(app: App, environment: Environment, database: DatabaseName = None) -> shapes.SchemaOut:
        asked = Asked(AppName(app), EnvironmentName(environment), database)
        return shapes.SchemaOut.model_validate(schemas.dump(asked))

    @router.post(
        base + "/lint", responses=LOOK, summary="What blocks others or breaks the release that serves"
    )
    def post_lint(app: App, environment: Environment, wanted: shapes.LintRequest) -> shapes.LintOut:
        asked = _asked(app, environment, wanted)
        return shapes.LintOut.model_validate(schemas.lint(asked, wanted.engine, every=wanted.every))

    @router.post(
        base + "/trial",
        responses=LOOK,
        summary="Try what is pending up, down and up on a scratch database with the schema of the real one",
    )
    def post_trial(app: App, environment: Environment, wanted: shapes.DatabaseRequest) -> shapes.SchemaTrial:
        return shapes.SchemaTrial(report=schemas.trial(_asked(app, environment, wanted)))

    return router


def _running(s: Services, schemas: Schemas) -> APIRouter:
    router = APIRouter()

    @router.post(
        ENVIRONMENT + "/migrations",
        status_code=202,
        responses=REFUSED,
        summary="Run migrations, or take some back, by the files of what serves",
    )
    def post_migrations(
        app: App,
        environment: Environment,
        wanted: shapes.MigrateRequest,
        key: Key = None,
        actor: Actor = "api",
    ) -> wire.ChangeOut:
        asked = Asked(AppName(app), EnvironmentName(environment), wanted.database)
        name = schemas.chosen(asked).name
        if wanted.direction == "down":
            _confirm(s, asked, wanted)
        goal = _goal(schemas, asked, wanted)

        def same(change: Change) -> bool:
            schema = dict(change.goal.schema)
            said = ("direction", "to", "versions", "out_of_order")
            return change.goal.migrate == (name,) and all(schema.get(k) == goal.get(k) for k in said)

        return once(
            s,
            key,
            ChangeKind.MIGRATE,
            app,
            environment,
            same,
            lambda id: s.rollouts.migrate(
                asked.app, asked.environment, databases=(name,), schema=goal, actor=actor, id=id
            ),
        )

    return router


def _asked(app: str, environment: str, wanted: shapes.DatabaseRequest) -> Asked:
    files = None if wanted.files is None else [(f.name, f.content) for f in wanted.files]
    return Asked(
        AppName(app),
        EnvironmentName(environment),
        wanted.database,
        ReleaseId(wanted.release) if wanted.release else None,
        files,
    )


def _goal(
    schemas: Schemas, asked: Asked, wanted: shapes.PlanRequest | shapes.MigrateRequest
) -> dict[str, Any]:
    if wanted.direction == "up":
        return schemas.goal_up(asked, wanted.to or "", wanted.out_of_order)
    counted = isinstance(wanted, shapes.PlanRequest) and wanted.steps
    if not (wanted.versions or wanted.to or counted):
        raise NOTHING_ASKED.error(
            "cannot take migrations back: it was not said which", hint='versions, or to: "0" takes all back'
        )
    return {"direction": "down", "to": wanted.to or "", "versions": list(wanted.versions)}


def _confirm(s: Services, asked: Asked, wanted: shapes.MigrateRequest) -> None:
    serving = s.parts.state.environment(asked.app, asked.environment).serving
    guarded = asked.environment == PRODUCTION or (
        serving is not None and bool(s.parts.spec(asked.app, asked.environment, serving).gate)
    )
    if guarded and wanted.confirm != asked.environment:
        raise NOT_CONFIRMED.error(
            f"cannot take migrations back in {asked.environment}: rows may be lost with them",
            hint=f"confirm it by the environment's name: --confirm {asked.environment}",
        )
