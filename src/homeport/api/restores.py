"""Operations on what was backed up: bring it back."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter

from homeport.api import problems
from homeport.api import wire_restores as wired
from homeport.api.backups import run_out
from homeport.api.parameters import BROKEN, ENVIRONMENT, Actor, App, Environment, Key
from homeport.api.services import Services
from homeport.api.wire import Name
from homeport.api.wire_backups import RunOut
from homeport.backup.restores.errors import BAD_TARGET
from homeport.backup.service import id_of
from homeport.kernel.errors import Kind
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.rollout.backups.restore_moments import Moment

REFUSED = problems.responses(
    Kind.NOT_FOUND, Kind.CONFLICT, Kind.INVALID, Kind.MISSING_PART, Kind.NO_SPACE, *BROKEN
)
KeptName = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_-]{1,63}$")]


def router(s: Services) -> APIRouter:
    router = APIRouter()

    @router.post(
        f"{ENVIRONMENT}/restores",
        responses=REFUSED,
        summary="Take a database back, or see what that would lose",
    )
    def post_restore(
        app: App, environment: Environment, asked: wired.RestoreRequest, actor: Actor = "api", key: Key = None
    ) -> RunOut:
        of = AppName(app), EnvironmentName(environment)
        moment = Moment(asked.to.at, asked.to.backup, asked.to.before_deploy or "", asked.to.repository or "")
        id = id_of(key) if key else None
        if asked.plan and asked.files:
            return run_out(s.restores.look_files(*of, asked.paths, moment, actor=actor, id=id))
        if asked.plan:
            return run_out(s.restores.look(*of, asked.database, moment, actor=actor, id=id))
        if asked.files:
            run = s.restores.files(
                *of,
                asked.paths,
                moment,
                confirm=asked.confirm,
                hold=not asked.stay_writable,
                actor=actor,
                id=id,
            )
            return run_out(run)
        if asked.tables:
            return run_out(s.restores.tables(*of, asked.database, moment, asked.tables, actor=actor, id=id))
        run = s.restores.database(
            *of,
            asked.database,
            moment,
            confirm=asked.confirm,
            hold=not asked.stay_writable,
            rollback=ReleaseId(asked.rollback) if asked.rollback else None,
            to_last=asked.rollback_to_last,
            actor=actor,
            id=id,
        )
        return run_out(run)

    @router.post(
        "/clusters/{cluster}/restores",
        responses=REFUSED,
        summary="Take a cluster back with all that is in it, or see what that would lose",
    )
    def post_cluster_restore(
        cluster: Name, asked: wired.ClusterRestoreRequest, actor: Actor = "api", key: Key = None
    ) -> RunOut:
        if asked.to.before_deploy:
            raise BAD_TARGET.error("cannot take a cluster back to before a deploy: name a time or a backup")
        moment = Moment(asked.to.at, asked.to.backup, "", asked.to.repository or "")
        if asked.plan:
            id = id_of(key) if key else None
            return run_out(s.restores.look_cluster(cluster, moment, actor=actor, id=id))
        run = s.restores.cluster(
            cluster,
            moment,
            confirm=asked.confirm,
            hold=not asked.stay_writable,
            actor=actor,
            id=id_of(key) if key else None,
        )
        return run_out(run)

    @router.post(
        f"{ENVIRONMENT}/restores/merge",
        responses=REFUSED,
        summary="Bring rows over from tables that were brought back",
    )
    def post_merge(
        app: App, environment: Environment, asked: wired.MergeRequest, actor: Actor = "api", key: Key = None
    ) -> RunOut:
        run = s.restores.merge(
            AppName(app),
            EnvironmentName(environment),
            asked.schema_,
            missing=asked.missing,
            changed=asked.changed,
            confirm=asked.confirm,
            actor=actor,
            id=id_of(key) if key else None,
        )
        return run_out(run)

    @router.get(f"{ENVIRONMENT}/backups/files", responses=REFUSED, summary="Which files a backup has")
    def get_files(
        app: App,
        environment: Environment,
        pattern: Annotated[
            str, Query(max_length=1000, description="a part of the path, or with * and ? all of it")
        ] = "",
        at: Annotated[wired.At | None, Query(description="the newest backup that is not after it")] = None,
        backup: Annotated[wired.Label, Query(description="this one; its id may be clipped")] = "",
        repository: Annotated[Name | None, Query(description="read this one; else whichever has it")] = None,
    ) -> wired.BackedUpFilesOut:
        moment = Moment(at, backup, "", repository or "")
        found = s.restores.files_in_backup(AppName(app), EnvironmentName(environment), pattern, moment)
        return wired.BackedUpFilesOut.model_validate(found)

    @router.get(f"{ENVIRONMENT}/restores/kept", responses=REFUSED, summary="What restores have kept")
    def get_kept(app: App, environment: Environment) -> wired.AllKeptOut:
        found = s.restores.kept(AppName(app), EnvironmentName(environment))
        return wired.AllKeptOut.model_validate(
            {"kept": [_shown(s, k) for k in found["kept"]], "problems": found["problems"]}
        )

    @router.delete(
        f"{ENVIRONMENT}/restores/kept/{{name}}", responses=REFUSED, summary="Remove what a restore has kept"
    )
    def delete_kept(
        app: App,
        environment: Environment,
        name: KeptName,
        confirm: Annotated[str, Query(max_length=63, description="its name, once more")] = "",
    ) -> wired.DroppedOut:
        s.restores.drop(AppName(app), EnvironmentName(environment), name, confirm=confirm)
        return wired.DroppedOut(name=name)

    return router


def _shown(s: Services, kept: dict[str, object]) -> dict[str, object]:
    keys = ("name", "kind", "cluster", "database", "app", "environment", "run", "bytes")
    run = s.backups.backups.runs.find(str(kept["run"]))
    return {key: kept[key] for key in keys} | {"at": run.started_at if run else None}
