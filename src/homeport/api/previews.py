"""Operations on previews, and taking one environment away."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter

from homeport.api import problems, wire, wire_pipelines
from homeport.api.parameters import BROKEN, ENVIRONMENT, REFUSED, Actor, App, Environment, Key
from homeport.api.services import Services
from homeport.kernel.errors import HomeportError, Kind
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.model import Commit
from homeport.rollout.previews import plan
from homeport.rollout.previews.model import Preview
from homeport.rollout.removal import Removed
from homeport.rollout.rollouts import id_for

PATH = "/apps/{app}/previews"
PreviewName = Annotated[
    str, PathParameter(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$", examples=["feature-hats"])
]
READ = problems.responses(Kind.NOT_FOUND, *BROKEN)


def router(s: Services) -> APIRouter:
    router = APIRouter()

    @router.get(PATH, responses=READ, summary="An app's previews")
    def get_previews(app: App) -> list[wire_pipelines.PreviewOut]:
        previews = s.previews.of_app(AppName(app))
        environments = {e.name: e for e in s.environments(AppName(app))} if previews else {}
        return [
            _preview(s, p, environments[p.environment]) for p in previews if p.environment in environments
        ]

    @router.get(PATH + "/{name}", responses=READ, summary="One preview")
    def get_preview(app: App, name: PreviewName) -> wire_pipelines.PreviewOut:
        s.parts.state.require_app(AppName(app))
        return _shown(s, s.previews.get(AppName(app), name))

    @router.post(
        PATH,
        status_code=202,
        responses=REFUSED,
        summary="Deploy an archive to the preview of a branch, which is made when there is none",
    )
    def post_preview(
        app: App, wanted: wire_pipelines.PreviewRequest, key: Key = None, actor: Actor = "api"
    ) -> wire_pipelines.PreviewOut:
        def made() -> Preview | None:
            if key is None:
                return None
            found = s.previews.made_by(key, AppName(app), wanted.branch, wanted.name, wanted.archive)
            return found[0] if found else None

        preview = made()
        if preview is None:
            try:
                preview, _ = s.previews.create(
                    AppName(app),
                    archive_digest=wanted.archive,
                    commit=Commit(
                        wanted.commit, wanted.subject, wanted.dirty, wanted.author, wanted.committed_at
                    ),
                    branch=wanted.branch,
                    name=wanted.name,
                    ttl=wanted.ttl,
                    actor=actor,
                    id=id_for(key) if key is not None else None,
                )
            except HomeportError:
                # The same call came twice at once, and the other one was first.
                preview = made()
                if preview is None:
                    raise
        return _shown(s, preview)

    @router.patch(PATH + "/{name}", responses=REFUSED, summary="Have a preview live so long from now on")
    def patch_preview(
        app: App, name: PreviewName, wanted: wire_pipelines.PreviewTtl, actor: Actor = "api"
    ) -> wire_pipelines.PreviewOut:
        s.parts.state.require_app(AppName(app))
        return _shown(s, s.previews.extend(AppName(app), name, wanted.ttl, actor=actor))

    @router.delete(
        PATH + "/{name}", responses=REFUSED, summary="Take a preview away with all that it has, storage too"
    )
    def delete_preview(app: App, name: PreviewName, actor: Actor = "api") -> wire_pipelines.RemovedOut:
        s.parts.state.require_app(AppName(app))
        return _removed(app, s.previews.remove(AppName(app), name, actor=actor))

    @router.delete(
        ENVIRONMENT, responses=REFUSED, summary="Take an environment away; its storage's files stay"
    )
    def delete_environment(
        app: App,
        environment: Environment,
        confirm: Annotated[str, Query(max_length=100, description="the environment's name, once more")],
        actor: Actor = "api",
    ) -> wire_pipelines.RemovedOut:
        removed = s.removal.destroy(AppName(app), EnvironmentName(environment), confirm=confirm, actor=actor)
        return _removed(app, removed)

    return router


def _shown(s: Services, preview: Preview) -> wire_pipelines.PreviewOut:
    return _preview(s, preview, s.environment(preview.app, preview.environment))


def _preview(s: Services, preview: Preview, environment: wire.EnvironmentOut) -> wire_pipelines.PreviewOut:
    moving = environment.change is not None and not environment.change.done
    problem = s.sleep.problem(preview.key)
    standing = plan.standing(
        preview,
        health=environment.health,
        moving=moving,
        waking=s.sleep.is_waking(preview.key),
        problem=problem,
        now=s.parts.clock.now(),
    )
    change = environment.change
    if problem is None and change is not None and change.failure is not None:
        problem = change.failure.sentence
    return wire_pipelines.PreviewOut(
        app=preview.app,
        name=preview.name,
        environment=preview.environment,
        branch=preview.branch,
        commit=preview.commit,
        state=standing.value,
        problem=problem,
        urls=environment.urls,
        actor=preview.actor,
        created_at=preview.created_at,
        expires_at=preview.expires_at,
        used_at=preview.used_at,
        memory=sum(i.memory or 0 for i in environment.instances),
        release=environment.serving,
        change=change,
    )


def _removed(app: str, removed: Removed) -> wire_pipelines.RemovedOut:
    return wire_pipelines.RemovedOut(
        app=app,
        environment=removed.environment,
        instances=removed.instances,
        storage=removed.storage,
        storage_kept=removed.storage_kept,
    )
