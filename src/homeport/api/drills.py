"""Operations on drills: recoveries rehearsed on a twin."""

import base64
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter

from homeport.api import problems, wire
from homeport.api import wire_drills as wired
from homeport.api.backups import run_out
from homeport.api.parameters import BROKEN, Actor, Key
from homeport.api.services import Services
from homeport.api.wire_backups import RunId, RunOut
from homeport.backup.drills.model import SCENARIOS, Report
from homeport.backup.service import id_of
from homeport.kernel.errors import Kind

REFUSED = problems.responses(
    Kind.NOT_FOUND, Kind.CONFLICT, Kind.INVALID, Kind.MISSING_PART, Kind.NO_SPACE, *BROKEN
)
RunPath = Annotated[RunId, PathParameter(examples=["b-1f2e3d4c5b"])]


def router(s: Services) -> APIRouter:
    router = APIRouter()

    @router.get("/drills", responses=REFUSED, summary="What can be rehearsed, and when it was last")
    def get_drills() -> wired.DrillsOut:
        last = s.drills.reports.last()
        return wired.DrillsOut(
            scenarios=[
                wired.ScenarioOut(
                    name=x.name,
                    story=x.story,
                    asks_passphrase=x.asks_passphrase,
                    targets=wired.TargetsOut(**asdict(x.targets)),
                    last=_report(last[x.name]) if x.name in last else None,
                )
                for x in SCENARIOS
            ],
            schedule=_schedule(s),
            timetable=[
                wired.TimedOut(
                    of=t.of, line=t.line, timezone=t.timezone, next_at=t.next_at, scenarios=list(t.scenarios)
                )
                for t in s.drills.timetable.all()
            ],
        )

    @router.post("/drills", responses=REFUSED, summary="Rehearse a recovery, beside production")
    def post_drill(asked: wired.DrillRequest, actor: Actor = "api", key: Key = None) -> RunOut:
        run = s.drills.rehearse(
            asked.scenario,
            cluster=asked.cluster or "",
            rpo=asked.rpo,
            rto=asked.rto,
            passphrase=asked.passphrase,
            actor=actor,
            id=id_of(key) if key else None,
        )
        return run_out(run)

    @router.put("/drills/schedule", responses=REFUSED, summary="Rehearse by the clock, each scenario in turn")
    def put_schedule(asked: wired.ScheduleRequest, actor: Actor = "api") -> wired.ScheduleOut:
        s.drills.set_schedule(asked.line.strip(), actor=actor)
        return _schedule(s)

    @router.get("/drills/reports", responses=REFUSED, summary="What came of drills, the newest first")
    def get_reports(
        scenario: Annotated[wire.Name | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 20,
    ) -> list[wired.ReportOut]:
        return [_report(r) for r in s.drills.reports.list(scenario=scenario or "", limit=limit)]

    @router.get("/drills/reports/{run}", responses=REFUSED, summary="What came of one drill")
    def get_report(run: RunPath) -> wired.ReportOut:
        return _report(s.drills.reports.get(run))

    @router.get("/drills/reports/{run}/files", responses=REFUSED, summary="A report as Markdown and as PDF")
    def get_report_files(run: RunPath) -> wired.ReportFilesOut:
        found = s.drills.report_files(run)
        return wired.ReportFilesOut(
            markdown=found["md"].decode("utf-8"), pdf=base64.b64encode(found["pdf"]).decode("ascii")
        )

    return router


def _report(report: Report) -> wired.ReportOut:
    return wired.ReportOut.model_validate(report.document(), strict=False)


def _schedule(s: Services) -> wired.ScheduleOut:
    found = s.drills.reports.schedule()
    return wired.ScheduleOut(line=found[0] if found else "", next_at=s.drills.timetable.next_at())
