"""Operations on clones: an environment's database, masked, into another environment."""

from fastapi import APIRouter

from homeport.api import problems
from homeport.api import wire_clones as wired
from homeport.api.backups import run_out
from homeport.api.parameters import BROKEN, ENVIRONMENT, Actor, App, Environment, Key
from homeport.api.services import Services
from homeport.api.wire_backups import RunOut
from homeport.backup.service import id_of
from homeport.kernel.errors import Kind
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.backups.clones import Clones, Wanted

REFUSED = problems.responses(
    Kind.NOT_FOUND, Kind.CONFLICT, Kind.INVALID, Kind.MISSING_PART, Kind.NO_SPACE, *BROKEN
)


def router(s: Services) -> APIRouter:
    router = APIRouter()
    clones = Clones(s.parts, s.backups.backups)

    @router.post(
        f"{ENVIRONMENT}/clones",
        responses=REFUSED,
        summary="Have another environment's database here, with its people masked",
    )
    def post_clone(
        app: App, environment: Environment, asked: wired.CloneRequest, actor: Actor = "api", key: Key = None
    ) -> RunOut:
        run = clones.clone(
            AppName(app),
            EnvironmentName(asked.source),
            EnvironmentName(environment),
            Wanted(
                asked.database,
                asked.backup,
                asked.repository or "",
                asked.replace,
                asked.files,
                asked.confirm,
            ),
            actor=actor,
            id=id_of(key) if key else None,
        )
        return run_out(run)

    return router
