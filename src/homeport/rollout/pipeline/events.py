"""What pipelines tell the journal. Every event carries its run's id and number."""

from dataclasses import dataclass
from typing import Any, ClassVar

from homeport.journal.model import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent(Event):
    run: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQueued(RunEvent):
    kind: ClassVar[str] = "run.queued"
    commit: str
    subject: str
    author: str
    branch: str
    cause: str
    attempt: int
    behind: int | None
    """The number of the run that it waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(RunEvent):
    kind: ClassVar[str] = "run.started"
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled(RunEvent):
    """Somebody asked for it; its end is told by ``run.finished``."""

    kind: ClassVar[str] = "run.cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(RunEvent):
    kind: ClassVar[str] = "run.finished"
    commit: str
    outcome: str
    """passed, failed, cancelled or superseded."""
    reason: str
    seconds: float
    """Since it left the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEvent(RunEvent):
    position: int
    attempt: int
    stage: str
    """Its name."""
    what: str
    """Its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted(StageEvent):
    kind: ClassVar[str] = "stage.started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWaits(StageEvent):
    """It cannot go on just now, such as while another change runs in the environment."""

    kind: ClassVar[str] = "stage.waits"
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOpened(StageEvent):
    """A person has to approve."""

    kind: ClassVar[str] = "gate.opened"
    people: list[str]
    """Who may; [] is anybody."""
    own: bool
    """Whether the commit's author, or who started the run, may."""
    items: list[str]
    timeout: float
    approved_is: dict[str, Any]
    """What an approval lets through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateChanged(StageEvent):
    """What serves has changed: an approval lets through something else than before."""

    kind: ClassVar[str] = "gate.changed"
    serving: str | None
    approved_is: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecided(StageEvent):
    kind: ClassVar[str] = "gate.decided"
    person: str
    approved: bool
    reason: str
    ticked: list[str]
    approved_is: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFinished(StageEvent):
    kind: ClassVar[str] = "stage.finished"
    outcome: str
    """passed, failed or cancelled."""
    reason: str
    seconds: float
    lines: list[str]
    """The last ones of what failed."""
