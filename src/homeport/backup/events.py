"""What is told of backups."""

from dataclasses import dataclass
from typing import ClassVar

from homeport.journal.model import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryAdded(Event):
    kind: ClassVar[str] = "backup.repository_added"
    name: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryRemoved(Event):
    """What it holds stays there."""

    kind: ClassVar[str] = "backup.repository_removed"
    name: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    kind: ClassVar[str] = "backup.started"
    run: str
    what: str
    """"backup", "restore", "clone", "drill" or "prune"."""
    subject: str
    steps: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded(Event):
    kind: ClassVar[str] = "backup.step_ended"
    run: str
    step: str
    outcome: str
    """"passed", "failed", "skipped" or "cancelled"."""
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    kind: ClassVar[str] = "backup.ended"
    run: str
    what: str
    subject: str
    outcome: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endangered(Event):
    """A look at a cluster found what endangers its recovery, or that this is over (then there are none)."""

    kind: ClassVar[str] = "backup.endangered"
    cluster: str
    findings: list[str]
