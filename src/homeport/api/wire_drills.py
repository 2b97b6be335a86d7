"""What goes over the wire about drills."""

from datetime import datetime
from typing import Any

from pydantic import Field

from homeport.api.wire import Asked, Name, Wire
from homeport.api.wire_backups import Passphrase, Text

LONGEST = 30 * 86400.0


class DrillRequest(Asked):
    scenario: Name = Field(examples=["table-dropped"])
    cluster: Name | None = Field(None, description="whose recovery is rehearsed; by default the first")
    rpo: float | None = Field(None, ge=0, le=LONGEST, description="seconds of writes that may be lost")
    rto: float | None = Field(None, gt=0, le=LONGEST, description="seconds until it answers again")
    passphrase: Passphrase = Field("", description="to show that somebody has it; tried, and not kept")


class ScheduleRequest(Asked):
    line: Text = Field(
        description='daily, weekly, monthly, or as cron has it, in UTC; "" is none', examples=["0 5 * * 0"]
    )


class ScheduleOut(Wire):
    line: str
    next_at: datetime | None


class TargetsOut(Wire):
    rpo: float
    rto: float


class PhaseOut(Wire):
    phase: str
    state: str
    started_at: datetime | None
    seconds: float
    told: list[str]
    error: str


class ReportOut(Wire):
    run: str = Field(examples=["b-1f2e3d4c5b"])
    scenario: str
    cluster: str
    at: datetime
    actor: str
    passed: bool
    rpo: float | None = Field(description="seconds of writes that were lost; null: not measured")
    rto: float | None = Field(description="seconds from the accident to the end of the smoke test")
    targets: TargetsOut
    timeline: list[PhaseOut]
    figures: dict[str, Any]
    wrong: list[str] = Field(description="why it did not pass")
    todo: list[str] = Field(description="what people have to do better")


class ScenarioOut(Wire):
    name: str
    story: str
    asks_passphrase: bool
    targets: TargetsOut
    last: ReportOut | None


class TimedOut(Wire):
    of: str = Field(description="whose schedule: the machine's, or an app's and environment's")
    line: str
    timezone: str
    next_at: datetime
    scenarios: list[str]


class DrillsOut(Wire):
    scenarios: list[ScenarioOut]
    schedule: ScheduleOut = Field(description="the machine's own")
    timetable: list[TimedOut] = Field(description="all schedules")


class ReportFilesOut(Wire):
    markdown: str
    pdf: str = Field(description="in Base64")
