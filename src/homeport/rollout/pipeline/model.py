"""Runs of pipelines and their stages, as values."""

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any

from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, RunId
from homeport.rollout.model import Commit
from homeport.spec.model import Stage

RUN = re.compile(r"p-[0-9a-f]{10}")
CAUSES = ("push", "webhook", "poll", "cli")
SUPERSEDED = "superseded by "
"""How the reason of a run begins that made room for a newer one."""


class RunState(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    """At a gate, for a person."""
    PASSED = "passed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"

    @property
    def ended(self) -> bool:
        return self not in (RunState.QUEUED, RunState.RUNNING, RunState.WAITING)


UNFINISHED = tuple(s.value for s in RunState if not s.ended)


class StageState(Enum):
    RUNNING = "running"
    WAITING = "waiting"
    PASSED = "passed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (StageState.RUNNING, StageState.WAITING)


@dataclass(frozen=True, slots=True)
class Run:
    """One commit's way through a pipeline. What it works with is frozen when it begins."""

    id: RunId
    app: AppName
    number: int
    """Within its app: 1, 2, …"""
    commit: Commit
    branch: str
    archive: str
    """SHA-256 of the source archive."""
    spec: str
    """Its ``homeport.toml``, as text."""
    cause: str
    """One of :data:`CAUSES`."""
    actor: str
    """Who started it."""
    state: RunState
    attempt: int
    """1, and one more with each retry."""
    reason: str
    """Why it ended as it did; "" while it is under way, and when it passed."""
    cancel: str
    """Who asked for it to be cancelled; "" while nobody did."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def title(self) -> str:
        """``#12 of shop``"""
        return f"#{self.number} of {self.app}"


@dataclass(frozen=True, slots=True)
class StageRun:
    """One attempt at one stage."""

    run: RunId
    position: int
    """See :class:`Placed`."""
    attempt: int
    """Of the run."""
    kind: str
    name: str
    environment: EnvironmentName | None
    state: StageState
    reason: str
    change: ChangeId | None
    """The change that it made."""
    found: dict[str, Any]
    """What it found, for people and for later stages; ``lines`` are the last ones of what failed."""
    started_at: datetime
    finished_at: datetime | None

    def ended(self, state: StageState, reason: str = "") -> "StageRun":
        return replace(self, state=state, reason=reason)


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person said at a gate."""

    run: RunId
    position: int
    attempt: int
    person: str
    approved: bool
    reason: str
    ticked: tuple[str, ...]
    what: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Placed:
    """A stage and where it stands.

    The stages of the commit's own pipeline stand at the odd positions 1, 3, 5, …; a gate that only what
    serves asks for stands at the even position before the stage that it guards. So no position changes its
    meaning when what serves changes while a run is under way.
    """

    position: int
    stage: Stage
    guards: int | None = None
    """Of an ``approve`` stage: the position of the deploy that it comes before."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the planner decides by."""

    run: Run
    ahead: bool
    """Another run of the app has to end first."""
    newer: int | None = None
    """The number of a newer run that supersedes those that wait."""
    stages: tuple[StageRun, ...] = ()
    """The newest attempt of each stage that was begun."""
    decision: Approval | None = None
    """What was said at the gate that waits."""
    overdue: bool = False
    """The gate that waits has waited for as long as it may."""
    serving: dict[EnvironmentName, str] = field(default_factory=dict)
    """The release that serves, by environment."""
