"""The measures of software delivery of one environment."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from homeport.api import problems
from homeport.api.parameters import BROKEN, ENVIRONMENT, App, Environment
from homeport.api.services import Services
from homeport.api.wire import Wire
from homeport.kernel.errors import Kind
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout import dora, dora_records


class SpreadOut(Wire):
    """Of some durations in seconds; null where there are too few for it."""

    count: int
    median: float | None
    p90: float | None = Field(description="nearest rank; from ten values on")


class StageTimeOut(Wire):
    kind: str
    name: str
    environment: str | None
    passed: int
    failed: int
    seconds: SpreadOut


class DoraOut(Wire):
    """What there is too little data for is null, never 0."""

    app: str
    environment: str
    since: datetime = Field(description="the begin asked for, or the environment's first change if later")
    until: datetime
    deployments: int = Field(description="promoted releases that a deploy, promote or configure brought")
    per_day: float | None
    lead_time: SpreadOut = Field(description="from a commit to its first promotion")
    exposed: int = Field(description="deployments, and releases taken back: all that got requests")
    taken_back: int = Field(description="got requests, and was not promoted")
    rolled_back: int = Field(description="was promoted, and gone back from later")
    failure_rate: float | None = Field(description="taken_back and rolled_back of exposed, 0 to 1")
    restore: SpreadOut = Field(description="from a failed release's promotion to the next well one")
    unrestored: int
    kept_back: int = Field(description="failed before it got a request: no failure in production")
    cancelled: int
    stages: list[StageTimeOut] = Field(description="of the app's pipeline, whatever their environment")
    definition: str


def router(s: Services) -> APIRouter:
    router = APIRouter()

    @router.get(
        ENVIRONMENT + "/dora",
        responses=problems.responses(Kind.NOT_FOUND, Kind.INVALID, *BROKEN),
        summary="Deployment frequency, lead time, failure rate, time to restore, time in each stage",
    )
    def get_dora(
        app: App,
        environment: Environment,
        since: Annotated[
            str,
            Query(
                max_length=40,
                description="a duration back from now, or a time in UTC",
                examples=["30d", "2026-11-01T00:00:00Z"],
            ),
        ] = "30d",
    ) -> DoraOut:
        until = s.parts.clock.now()
        found = dora_records.measure(
            s.parts.state,
            AppName(app),
            EnvironmentName(environment),
            since=dora_records.begin(since, until),
            until=until,
        )
        return _out(app, environment, found)

    return router


def _out(app: str, environment: str, found: dora.Dora) -> DoraOut:
    return DoraOut(
        app=app,
        environment=environment,
        since=found.since,
        until=found.until,
        deployments=found.deployments,
        per_day=_rounded(found.per_day, 4),
        lead_time=_spread(found.lead_time),
        exposed=found.exposed,
        taken_back=found.taken_back,
        rolled_back=found.rolled_back,
        failure_rate=_rounded(found.failure_rate, 4),
        restore=_spread(found.restore),
        unrestored=found.unrestored,
        kept_back=found.kept_back,
        cancelled=found.cancelled,
        stages=[
            StageTimeOut(
                kind=stage.kind,
                name=stage.name,
                environment=stage.environment,
                passed=stage.passed,
                failed=stage.failed,
                seconds=_spread(stage.seconds),
            )
            for stage in found.stages
        ],
        definition=dora.DEFINITION,
    )


def _spread(spread: dora.Spread) -> SpreadOut:
    return SpreadOut(count=spread.count, median=_rounded(spread.median, 3), p90=_rounded(spread.p90, 3))


def _rounded(value: float | None, digits: int) -> float | None:
    return round(value, digits) if value is not None else None
