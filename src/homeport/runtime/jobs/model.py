"""Scheduled commands: what is to run, what ran, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from homeport.kernel.ids import AppName, EnvironmentName, InstanceName, ReleaseId
from homeport.runtime.model import InstanceSpec
from homeport.spec.model import Cron
from homeport.spec.schedule import Schedule

SCHEDULE = "schedule"
"""The cause of a run that was due; any other cause is who asked for it."""


class RunState(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    """Its start was recorded. It has a process, or is given one, or is about to be found lost."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    LOST = "lost"
    """What watched over it was killed, or the machine went down: how far it came is not known."""
    SKIPPED = "skipped"
    """It never started."""
    REPLACED = "replaced"
    """It was ended because the next one was due."""
    STOPPED = "stopped"
    """A person ended it."""

    @property
    def is_active(self) -> bool:
        return self in (RunState.WAITING, RunState.RUNNING)


TO_RETRY = (RunState.FAILED, RunState.TIMED_OUT, RunState.LOST)


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at one due time, or at what a person asked for."""

    id: InstanceName
    """``<app>.<environment>.cron.<name>.<number>``, also its mark and the name of its log.

    Unlike an instance's name in its third part, so nothing takes it for one.
    """
    app: AppName
    environment: EnvironmentName
    name: str
    number: int
    due_at: datetime
    cause: str
    attempt: int
    """From 1."""
    missed: bool
    """It makes up for a time that was due while Homeport was down."""
    state: RunState
    start_at: datetime
    release: ReleaseId | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit: str = ""
    """"status 1", "signal 9 (SIGKILL)", or why it did not run; "" before its end."""

    @property
    def is_by_schedule(self) -> bool:
        """Due just so: not asked for, not tried again, not made up for."""
        return self.cause == SCHEDULE and self.attempt == 1 and not self.missed

    @property
    def seconds(self) -> float | None:
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0.0, (self.finished_at - self.started_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Target:
    """The crons of the release that serves an environment."""

    app: AppName
    environment: EnvironmentName
    release: ReleaseId
    crons: tuple[Cron, ...]
    instance: Callable[[Cron, str], InstanceSpec]
    """What to run, given the run's id, which becomes the name: with the release's directory and variables.

    May raise HomeportError; the run has then failed.
    """


@dataclass(frozen=True, slots=True)
class Job:
    """One cron of one environment as it stands; ``cron`` and what follows from it are None where no
    release that serves has it."""

    app: AppName
    environment: EnvironmentName
    name: str
    cron: Cron | None
    schedule: Schedule | None
    release: ReleaseId | None
    planned_to: datetime | None
    planned_by: str
    """The schedule that ``planned_to`` was written under, as :func:`schedule_key` gives it."""
    paused_by: str | None
    runs: tuple[Run, ...]
    """Those that are active, by number."""


class Seen(Enum):
    """What there is of a run that is recorded as RUNNING."""

    UNPREPARED = "unprepared"
    """No files yet: no process was started for it, ever."""
    UNCLAIMED = "unclaimed"
    """Files, but no runner has taken it so far."""
    RUNNING = "running"
    GONE = "gone"
    """A runner took it and is gone without leaving word of its end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    state: RunState
    exit: str
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as people look at it."""

    name: str
    schedule: str
    timezone: str
    command: str
    release: ReleaseId
    paused_by: str | None
    next: datetime | None
    """When it is due next; None while it is paused."""
    last: Run | None
    """Its newest run that was started or is about to be."""


def schedule_key(cron: Cron) -> str:
    return f"{cron.schedule} {cron.timezone}"


def run_id(app: str, environment: str, name: str, number: int) -> InstanceName:
    return InstanceName(f"{app}.{environment}.cron.{name}.{number}")
