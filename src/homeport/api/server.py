"""The HTTP API under ``/v1``."""

import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.responses import PlainTextResponse

from homeport.api import (
    backups,
    clones,
    databases,
    dora,
    drills,
    environments,
    migrations,
    pipelines,
    previews,
    problems,
    restores,
    rollouts,
    services,
    sources,
    streams,
    wire,
)
from homeport.api.parameters import (
    BROKEN,
    ENVIRONMENT,
    REFUSED,
    Actor,
    App,
    ChangeParameter,
    Environment,
    Key,
    Release,
    once,
)
from homeport.api.services import Services
from homeport.kernel.errors import Kind
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, InstanceName, ReleaseId
from homeport.rollout import build as building
from homeport.rollout.archive import INVALID as ARCHIVE_INVALID
from homeport.rollout.archive import TOO_LARGE
from homeport.rollout.errors import UNKNOWN_PROCESS
from homeport.rollout.model import ChangeKind, Commit
from homeport.rollout.rollouts import MAX_ARCHIVE

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
TIME, PLACE = f"^{_TIME}$", rf"^{_TIME}~\d{{1,9}}$"
"""A time, and the id of a log line in a stream."""


def make(s: Services) -> problems.Api:
    """The application. Answers only what the rooms below say."""
    app = problems.Api(
        title="Homeport",
        version=s.version,
        description="Ship, watch, guard and recover web apps on your own machines.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app, lambda text: s.parts.masker().mask_text(text))
    for router in (
        _reading(s),
        _changing(s),
        environments.router(s),
        rollouts.router(s),
        previews.router(s),
        dora.router(s),
        pipelines.router(s),
        migrations.router(s),
        sources.router(s),
        databases.router(s),
        backups.router(s),
        restores.router(s),
        drills.router(s),
        clones.router(s),
        _streaming(s),
    ):
        app.include_router(router, prefix="/v1")
    return app


def _reading(s: Services) -> APIRouter:
    router = APIRouter()
    state = s.parts.state

    @router.get("/status", responses=problems.responses(*BROKEN), summary="What serves now, as observed")
    def get_status() -> wire.StatusOut:
        return s.status()

    @router.get("/doctor", responses=problems.responses(*BROKEN), summary="Look for what is wrong")
    def get_doctor() -> wire.DoctorOut:
        findings = s.doctor()
        return wire.DoctorOut(
            ok=all(f.ok for f in findings),
            findings=[wire.FindingOut(name=f.name, ok=f.ok, detail=f.detail, hint=f.hint) for f in findings],
        )

    @router.get("/apps/{app}", responses=problems.responses(Kind.NOT_FOUND, *BROKEN), summary="One app")
    def get_app(app: App) -> wire.AppOut:
        state.require_app(AppName(app))
        return wire.AppOut(name=app, environments=s.environments(AppName(app)))

    @router.get(ENVIRONMENT, responses=problems.responses(Kind.NOT_FOUND, *BROKEN), summary="One environment")
    def get_environment(app: App, environment: Environment) -> wire.EnvironmentOut:
        return s.environment(AppName(app), EnvironmentName(environment))

    @router.get(
        "/apps/{app}/releases", responses=problems.responses(Kind.NOT_FOUND, *BROKEN), summary="Newest first"
    )
    def get_releases(app: App) -> list[wire.ReleaseOut]:
        state.require_app(AppName(app))
        return [s.release(r) for r in reversed(state.releases(AppName(app)))]

    @router.get(
        "/apps/{app}/releases/{release}/log",
        response_class=PlainTextResponse,
        responses=problems.responses(Kind.NOT_FOUND, *BROKEN),
        summary="What a release's build printed",
    )
    def get_build_log(app: App, release: Release) -> PlainTextResponse:
        state.require_app(AppName(app))
        state.release(AppName(app), ReleaseId(release))
        path = s.parts.build_log(AppName(app), ReleaseId(release))
        text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
        return PlainTextResponse(text)

    @router.get(
        ENVIRONMENT + "/variables",
        responses=problems.responses(Kind.NOT_FOUND, *BROKEN),
        summary="Variables set by hand",
    )
    def get_variables(app: App, environment: Environment) -> wire.VariablesOut:
        found = state.environment(AppName(app), EnvironmentName(environment))
        return wire.VariablesOut(variables=dict(found.variables))

    @router.get(
        ENVIRONMENT + "/logs",
        responses=problems.responses(Kind.NOT_FOUND, *BROKEN),
        summary="The newest log lines, oldest first",
    )
    def get_logs(
        app: App,
        environment: Environment,
        process: Annotated[wire.Name | None, Query()] = None,
        since: Annotated[str | None, Query(pattern=TIME)] = None,
        limit: Annotated[int, Query(ge=1, le=streams.MOST_LINES)] = 100,
    ) -> list[wire.LogLine]:
        names = _logged(s, app, environment, process)
        return [
            wire.LogLine(at=at, instance=instance, text=text)
            for at, instance, text in s.parts.logs.read(names, since=since, limit=limit)
        ]

    @router.get(
        "/changes/{change}", responses=problems.responses(Kind.NOT_FOUND, *BROKEN), summary="One change"
    )
    def get_change(change: ChangeParameter) -> wire.ChangeOut:
        return s.change(state.change(ChangeId(change)))

    @router.get("/changes", responses=problems.responses(*BROKEN), summary="The newest changes first")
    def get_changes(
        app: Annotated[wire.Name | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> list[wire.ChangeOut]:
        return [s.change(c) for c in state.changes(AppName(app) if app else None, limit=limit)]

    @router.get("/events", responses=problems.responses(*BROKEN), summary="The newest records, oldest first")
    def get_events(
        app: Annotated[wire.Name | None, Query()] = None,
        after: Annotated[int, Query(ge=0, lt=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> list[wire.EventOut]:
        records = state.store.records(after=after, app=app, limit=limit, newest=after == 0)
        return [services.record(r) for r in records]

    return router


def _changing(s: Services) -> APIRouter:
    router = APIRouter()
    rollouts = s.rollouts

    @router.post(
        "/archives",
        status_code=201,
        responses=problems.responses(Kind.NO_SPACE, *BROKEN),
        summary="Upload a source archive (an uncompressed tar, as git archive gives)",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def post_archive(request: Request) -> wire.ArchiveReceived:
        return await _receive(s, request)

    @router.post(ENVIRONMENT + "/deploys", status_code=202, responses=REFUSED, summary="Deploy an archive")
    def post_deploy(
        app: App,
        environment: Environment,
        wanted: wire.DeployRequest,
        key: Key = None,
        actor: Actor = "api",
    ) -> wire.ChangeOut:
        return once(
            s,
            key,
            ChangeKind.DEPLOY,
            app,
            environment,
            lambda change: change.archive == wanted.archive,
            lambda id: rollouts.deploy(
                AppName(app),
                EnvironmentName(environment),
                archive_digest=wanted.archive,
                commit=Commit(
                    wanted.commit, wanted.subject, wanted.dirty, wanted.author, wanted.committed_at
                ),
                replace_running=wanted.replace,
                past_gate=wanted.past_gate,
                rebuild=wanted.rebuild,
                actor=actor,
                id=id,
            ),
        )

    @router.post(
        ENVIRONMENT + "/rollbacks", status_code=202, responses=REFUSED, summary="Go back to a release"
    )
    def post_rollback(
        app: App,
        environment: Environment,
        wanted: Annotated[wire.RollbackRequest, Body()],
        key: Key = None,
        actor: Actor = "api",
    ) -> wire.ChangeOut:
        return once(
            s,
            key,
            ChangeKind.ROLLBACK,
            app,
            environment,
            lambda change: wanted.release in (None, change.goal.release),
            lambda id: rollouts.rollback(
                AppName(app),
                EnvironmentName(environment),
                release=ReleaseId(wanted.release) if wanted.release else None,
                replace_running=wanted.replace,
                actor=actor,
                id=id,
            ),
        )

    @router.post(ENVIRONMENT + "/scalings", status_code=202, responses=REFUSED, summary="Run more or fewer")
    def post_scaling(
        app: App,
        environment: Environment,
        wanted: wire.ScaleRequest,
        key: Key = None,
        actor: Actor = "api",
    ) -> wire.ChangeOut:
        return once(
            s,
            key,
            ChangeKind.SCALE,
            app,
            environment,
            lambda change: (
                wanted.processes.items() <= {w.process: w.count for w in change.goal.wants}.items()
            ),
            lambda id: rollouts.scale(
                AppName(app), EnvironmentName(environment), processes=wanted.processes, actor=actor, id=id
            ),
        )

    @router.post(
        ENVIRONMENT + "/restarts", status_code=202, responses=REFUSED, summary="Replace every instance"
    )
    def post_restart(
        app: App,
        environment: Environment,
        wanted: Annotated[wire.RestartRequest, Body()],
        key: Key = None,
        actor: Actor = "api",
    ) -> wire.ChangeOut:
        return once(
            s,
            key,
            ChangeKind.RESTART,
            app,
            environment,
            lambda _: True,
            lambda id: rollouts.restart(AppName(app), EnvironmentName(environment), actor=actor, id=id),
        )

    @router.post(
        "/changes/{change}/abort",
        status_code=202,
        responses=problems.responses(Kind.NOT_FOUND, *BROKEN),
        summary="Ask for a change to be taken back; nothing when it was promoted",
    )
    def post_abort(change: ChangeParameter) -> wire.ChangeOut:
        return s.change(rollouts.abort(ChangeId(change)))

    @router.patch(
        ENVIRONMENT + "/variables", responses=REFUSED, summary="Set and remove variables; restarts nothing"
    )
    def patch_variables(
        app: App, environment: Environment, wanted: wire.VariablesRequest, actor: Actor = "api"
    ) -> wire.VariablesOut:
        changed = s.settings.set_variables(
            AppName(app),
            EnvironmentName(environment),
            set_=wanted.set,
            unset=tuple(wanted.unset),
            declared=wanted.declared,
            actor=actor,
        )
        return wire.VariablesOut(variables=dict(changed.variables))

    @router.delete("/apps/{app}", responses=REFUSED, summary="Take an app away, with all its releases")
    def delete_app(
        app: App,
        confirm: Annotated[str, Query(max_length=100, description="the app's name, once more")],
        actor: Actor = "api",
    ) -> wire.Destroyed:
        if confirm == app:
            s.pipelines.forget_app(AppName(app), actor=actor)
        instances, releases = s.removal.destroy_app(AppName(app), confirm=confirm, actor=actor)
        s.sources.forget_app(AppName(app))
        return wire.Destroyed(app=app, instances=instances, releases=releases)

    return router


async def _receive(s: Services, request: Request) -> wire.ArchiveReceived:
    """Stream the body to disk; named by its digest, so a second upload of the same is the same."""
    directory: Path = s.parts.data_dir / "archives"
    directory.mkdir(mode=0o700, exist_ok=True)
    building.check_room(s.parts.data_dir, int(request.headers.get("content-length") or 0))
    digest = hashlib.sha256()
    size = 0
    fd, name = tempfile.mkstemp(dir=directory, prefix="upload.")
    try:
        with os.fdopen(fd, "wb") as f:
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_ARCHIVE:
                    raise TOO_LARGE.error("cannot take the archive: it is larger than 2 GB")
                digest.update(chunk)
                f.write(chunk)
        if size == 0:
            raise ARCHIVE_INVALID.error("cannot take the archive: it is empty")
        os.replace(name, s.parts.archive(digest.hexdigest()))
    except BaseException as e:
        Path(name).unlink(missing_ok=True)
        if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise building.DISK_FULL.error(
                f"cannot take the archive: the disk of {s.parts.data_dir} is full",
                hint="remove something, then deploy again",
            ) from e
        raise
    return wire.ArchiveReceived(digest=digest.hexdigest(), size=size)


def _streaming(s: Services) -> APIRouter:
    router = APIRouter()
    state = s.parts.state
    stream: dict[int | str, dict[str, Any]] = {
        200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}
    }

    @router.get(
        "/events/stream",
        response_class=streams.EventStream,
        responses=stream | problems.responses(*BROKEN),
        summary="Records as they are appended",
    )
    async def get_event_stream(
        app: Annotated[wire.Name | None, Query()] = None,
        after: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
        last: Annotated[str | None, Header(alias="Last-Event-ID", pattern=r"^\d{1,15}$")] = None,
    ) -> streams.EventStream:
        if last is not None:
            after = int(last)
        elif after is None:
            newest = state.store.records(newest=True, limit=1)
            after = newest[0].seq if newest else 0
        return streams.EventStream(streams.journal(s, after, app))

    @router.get(
        "/changes/{change}/stream",
        response_class=streams.EventStream,
        responses=stream | problems.responses(Kind.NOT_FOUND, *BROKEN),
        summary="A change's records and build output as they come; ends with it",
    )
    async def get_change_stream(
        change: ChangeParameter,
        last: Annotated[str | None, Header(alias="Last-Event-ID", pattern=r"^\d{1,15}\.\d{1,15}$")] = None,
    ) -> streams.EventStream:
        state.change(ChangeId(change))
        after, offset = (int(x) for x in (last or "0.0").split("."))
        return streams.EventStream(streams.change(s, ChangeId(change), after, offset))

    @router.get(
        ENVIRONMENT + "/logs/stream",
        response_class=streams.EventStream,
        responses=stream | problems.responses(Kind.NOT_FOUND, *BROKEN),
        summary="The newest log lines, oldest first, then those that come",
    )
    def get_log_stream(
        app: App,
        environment: Environment,
        process: Annotated[wire.Name | None, Query()] = None,
        since: Annotated[str | None, Query(pattern=TIME)] = None,
        limit: Annotated[int, Query(ge=0, le=streams.MOST_LINES)] = 0,
        last: Annotated[str | None, Header(alias="Last-Event-ID", pattern=PLACE)] = None,
    ) -> streams.EventStream:
        _logged(s, app, environment, process)
        prefix = InstanceName(f"{app}.{environment}.")
        return streams.EventStream(streams.logs(s, prefix, process, since=since, limit=limit, last=last))

    return router


def _logged(s: Services, app: str, environment: str, process: str | None) -> tuple[InstanceName, ...]:
    """Instances of an environment, or of one of its processes, that have a log. Raises ``rollout.unknown_process``."""
    s.parts.state.environment(AppName(app), EnvironmentName(environment))
    names = streams.logged(s, f"{app}.{environment}.", process)
    if process is not None and not names:
        raise UNKNOWN_PROCESS.error(
            f"cannot find process {process!r} of {app}",
            hint="homeport ps lists what runs; a process that never started has no log",
        )
    return names
