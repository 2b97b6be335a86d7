"""Operations on pipelines: runs, what their stages printed, and gates."""

from typing import Annotated

from fastapi import APIRouter, Body, Header, Query
from fastapi import Path as PathParameter
from fastapi.responses import PlainTextResponse

from homeport.api import problems, run_stream, streams, wire, wire_pipelines
from homeport.api.parameters import BROKEN, Actor, App, Key
from homeport.api.pipelines_view import view
from homeport.api.services import Services, record
from homeport.kernel.errors import Kind
from homeport.kernel.ids import AppName, RunId
from homeport.rollout.pipeline.executor import change_of
from homeport.rollout.pipeline.model import Run
from homeport.rollout.pipeline.service import id_for

RunParameter = Annotated[str, PathParameter(pattern=r"^p-[0-9a-f]{10}$", examples=["p-1f2e3d4c5b"])]
StageName = Annotated[str | None, Query(max_length=120, description="by its name or kind; default: the last")]
READ = problems.responses(Kind.NOT_FOUND, *BROKEN)
WRITE = problems.responses(Kind.NOT_FOUND, Kind.CONFLICT, *BROKEN)


def router(s: Services) -> APIRouter:
    found = APIRouter()
    found.include_router(_runs(s))
    found.include_router(_gates(s))
    found.include_router(_output(s))
    return found


def _runs(s: Services) -> APIRouter:
    router = APIRouter()
    pipelines = s.pipelines

    @router.post(
        "/apps/{app}/runs",
        status_code=202,
        responses=problems.responses(
            Kind.NOT_FOUND, Kind.CONFLICT, Kind.MISSING_PART, Kind.NO_SPACE, *BROKEN
        ),
        summary="Run an app's pipeline for a commit",
    )
    def post_run(
        app: App, wanted: wire_pipelines.RunRequest, key: Key = None, actor: Actor = "api"
    ) -> wire_pipelines.PipelineRunOut:
        made = pipelines.made_by(key, AppName(app), wanted.archive) if key is not None else None
        run = made or pipelines.begin(
            AppName(app),
            archive=wanted.archive,
            commit=wanted.commit,
            subject=wanted.subject,
            author=wanted.author,
            committed_at=wanted.committed_at,
            branch=wanted.branch,
            cause=wanted.cause,
            actor=actor,
            id=id_for(key) if key is not None else None,
        )
        return _run(s, run)

    @router.get("/apps/{app}/runs", responses=READ, summary="An app's runs, the newest first")
    def get_runs(
        app: App, limit: Annotated[int, Query(ge=1, le=200)] = 20
    ) -> list[wire_pipelines.PipelineRunOut]:
        s.parts.state.require_app(AppName(app))
        found = pipelines.runs.runs(AppName(app), limit=limit)
        return [view(pipelines.view(run, with_checklist=False)) for run in found]

    @router.get("/apps/{app}/runs/{run}", responses=READ, summary="A run by its number within the app")
    def get_run_by_number(
        app: App, run: Annotated[int, PathParameter(ge=1, lt=10**9, examples=[12])]
    ) -> wire_pipelines.PipelineRunOut:
        s.parts.state.require_app(AppName(app))
        return _run(s, pipelines.runs.named(AppName(app), str(run)))

    @router.get("/runs/{run}", responses=READ, summary="A run, with its stages and checklist")
    def get_run(run: RunParameter) -> wire_pipelines.PipelineRunOut:
        return _run(s, pipelines.runs.run(RunId(run)))

    @router.post(
        "/runs/{run}/cancel",
        status_code=202,
        responses=WRITE,
        summary="Ask a run to end; what it deploys just now is taken back",
    )
    def post_run_cancel(run: RunParameter, actor: Actor = "api") -> wire_pipelines.PipelineRunOut:
        return _run(s, pipelines.cancel(RunId(run), actor=actor))

    @router.post(
        "/runs/{run}/retry",
        status_code=202,
        responses=WRITE,
        summary="Queue a run again, from the stage on that did not pass",
    )
    def post_run_retry(
        run: RunParameter,
        _: Annotated[wire_pipelines.RetryRequest | None, Body()] = None,
        actor: Actor = "api",
    ) -> wire_pipelines.PipelineRunOut:
        return _run(s, pipelines.retry(RunId(run), actor=actor))

    return router


def _gates(s: Services) -> APIRouter:
    router = APIRouter()

    @router.post(
        "/runs/{run}/approvals",
        status_code=201,
        responses=WRITE,
        summary="Approve or reject a run that waits at a gate",
    )
    def post_approval(
        run: RunParameter, wanted: wire_pipelines.ApprovalRequest, actor: Actor = "api"
    ) -> wire_pipelines.PipelineRunOut:
        if wanted.approved:
            s.pipelines.gates.approve(
                RunId(run), person=actor, reason=wanted.reason, ticked=tuple(wanted.ticked)
            )
        else:
            s.pipelines.gates.reject(RunId(run), person=actor, reason=wanted.reason)
        return _run(s, s.pipelines.runs.run(RunId(run)))

    return router


def _output(s: Services) -> APIRouter:
    router = APIRouter()

    @router.get(
        "/runs/{run}/logs",
        response_class=PlainTextResponse,
        responses=READ,
        summary="What a stage printed",
    )
    def get_run_logs(run: RunParameter, stage: StageName = None) -> PlainTextResponse:
        found = s.pipelines.stage(RunId(run), stage)
        texts = [path.read_bytes() for path in run_stream.logs_of(s, found) if path.exists()]
        return PlainTextResponse(b"".join(texts).decode("utf-8", "replace"))

    @router.get(
        "/runs/{run}/records",
        responses=READ,
        summary="The records of the change that a stage made, oldest first",
    )
    def get_run_records(run: RunParameter, stage: StageName = None) -> list[wire.EventOut]:
        found = s.pipelines.stage(RunId(run), stage)
        if found.kind not in ("build", "deploy"):
            return []
        return [record(r) for r in s.parts.state.store.records(change=change_of(found))]

    @router.get(
        "/runs/{run}/stream",
        response_class=streams.EventStream,
        responses={
            200: {"description": "Server-sent events", "content": {"text/event-stream": {}}},
            **READ,
        },
        summary="A run's records and output, those of its changes too, as they come; ends with it",
    )
    async def get_run_stream(
        run: RunParameter,
        last: Annotated[
            str | None, Header(alias="Last-Event-ID", pattern=r"^\d{1,15}\.\d{1,15}\.\d{1,15}$")
        ] = None,
    ) -> streams.EventStream:
        s.pipelines.runs.run(RunId(run))
        return streams.EventStream(run_stream.run(s, RunId(run), last))

    return router


def _run(s: Services, run: Run) -> wire_pipelines.PipelineRunOut:
    return view(s.pipelines.view(run))
