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
class PassphraseChanged(Event):
    """Another one opens all repositories besides; what is sealed in backups is sealed for it from now on."""

    kind: ClassVar[str] = "backup.passphrase_changed"
    repositories: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryLocked(Event):
    """Object lock was asked for; 0 days: it is not looked at any more."""

    kind: ClassVar[str] = "backup.repository_locked"
    name: str
    mode: str
    """"GOVERNANCE", "COMPLIANCE" or ""."""
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryUndeleted(Event):
    """What was deleted or overwritten in a store came back."""

    kind: ClassVar[str] = "backup.repository_undeleted"
    name: str
    since: str
    deleted: int
    overwritten: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    kind: ClassVar[str] = "backup.started"
    run: str
    what: str
    """"backup", "state", "prove", "restore", "clone" or "drill"."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecovered(Event):
    """All was brought back on another machine, or another directory. Backups wait until :class:`Resumed`."""

    kind: ClassVar[str] = "backup.recovered"
    repository: str
    place: str
    former: str
    """The data directory that was backed up."""
    before: str
    """The moment that was asked for; "" is the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """Somebody said that the former machine is gone: this one backs up into its repositories."""

    kind: ClassVar[str] = "backup.resumed"
    repositories: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled(Event):
    """A recovery was rehearsed; its report is kept."""

    kind: ClassVar[str] = "backup.drilled"
    run: str
    scenario: str
    passed: bool
    rpo: float | None
    """Seconds of writes lost."""
    rto: float | None
    """Seconds from the accident to the end of the smoke test."""
    wrong: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillsScheduled(Event):
    """``line`` "": they are not made by the clock any more."""

    kind: ClassVar[str] = "backup.drills_scheduled"
    line: str
