"""Operations of sources: where an app's commits come from."""

from typing import Annotated

from fastapi import APIRouter, Body

from homeport.api import problems, wire_pipelines
from homeport.api.parameters import BROKEN, REFUSED, Actor, App
from homeport.api.services import Services
from homeport.kernel.errors import Kind
from homeport.kernel.ids import AppName
from homeport.rollout.sources.model import Source
from homeport.rollout.sources.service import HOOKS

SOURCE = "/apps/{app}/source"


def router(s: Services) -> APIRouter:
    router = APIRouter()
    sources = s.sources

    @router.get(
        SOURCE, responses=problems.responses(Kind.NOT_FOUND, *BROKEN), summary="What an app is fetched from"
    )
    def get_source(app: App) -> wire_pipelines.SourceOut:
        return _out(sources.get(AppName(app)))

    @router.put(SOURCE, responses=REFUSED, summary="Say what an app is fetched from")
    def put_source(
        app: App, wanted: wire_pipelines.SourceRequest, actor: Actor = "api"
    ) -> wire_pipelines.SourceOut:
        return _out(
            sources.set(
                AppName(app),
                url=wanted.url,
                branch=wanted.branch,
                directory=wanted.directory,
                poll=wanted.poll,
                token_from=wanted.token_from,
                actor=actor,
            )
        )

    @router.delete(SOURCE, status_code=204, responses=REFUSED, summary="Fetch it from nowhere; pushes go on")
    def delete_source(app: App, actor: Actor = "api") -> None:
        sources.remove(AppName(app), actor)

    @router.post(
        SOURCE + "/webhook",
        status_code=201,
        responses=REFUSED,
        summary="A fresh secret for the app's webhook; an earlier one holds no more",
    )
    def post_webhook(app: App, actor: Actor = "api") -> wire_pipelines.WebhookOut:
        path, secret = sources.new_webhook(AppName(app), actor)
        return wire_pipelines.WebhookOut(path=path, secret=secret)

    @router.post(
        "/apps/{app}/repository",
        responses=REFUSED,
        summary="The repository that takes an app's pushes; made when it is missing",
    )
    def post_repository(
        app: App, wanted: Annotated[wire_pipelines.RepositoryRequest, Body()]
    ) -> wire_pipelines.RepositoryOut:
        path, is_new = sources.repository(AppName(app), wanted.directory)
        return wire_pipelines.RepositoryOut(path=str(path), is_new=is_new)

    return router


def _out(source: Source) -> wire_pipelines.SourceOut:
    return wire_pipelines.SourceOut(
        app=source.app,
        url=source.url,
        branch=source.branch,
        directory=source.directory,
        poll=source.poll,
        webhook=f"{HOOKS}{source.app}" if source.webhook else None,
        credential=source.credential,
        seen=source.seen,
        looked_at=source.looked_at,
        problem=source.problem,
        waiting=len(source.pending),
    )
