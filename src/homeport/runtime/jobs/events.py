"""What scheduled commands tell the journal. Times are ISO 8601 in UTC."""

from dataclasses import dataclass
from typing import ClassVar

from homeport.journal.model import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class CronStarted(Event):
    kind: ClassVar[str] = "cron.started"
    job: str
    run: str
    release: str
    due_at: str
    cause: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CronFinished(Event):
    """``state``: succeeded, failed, timed out, lost, replaced or stopped."""

    kind: ClassVar[str] = "cron.finished"
    job: str
    run: str
    state: str
    exit: str
    seconds: float
    attempt: int
    retry_at: str | None
    lines: list[str]
    """Its last output, unless it succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronSkipped(Event):
    """A run that will not start."""

    kind: ClassVar[str] = "cron.skipped"
    job: str
    run: str
    due_at: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CronPassedOver(Event):
    """Due times that get no run. ``count`` above 1000: more than that."""

    kind: ClassVar[str] = "cron.passed_over"
    job: str
    count: int
    first: str
    last: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CronAsked(Event):
    """Someone asked for a run now."""

    kind: ClassVar[str] = "cron.asked"
    job: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CronStopAsked(Event):
    """Someone asked to end a run, which tells of its end itself."""

    kind: ClassVar[str] = "cron.stop_asked"
    job: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CronPaused(Event):
    kind: ClassVar[str] = "cron.paused"
    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CronResumed(Event):
    kind: ClassVar[str] = "cron.resumed"
    job: str
