"""What sources tell the journal."""

from dataclasses import dataclass
from typing import ClassVar

from homeport.journal.model import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChanged(Event):
    """A repository was set to fetch from, or taken away."""

    kind: ClassVar[str] = "source.changed"
    url: str | None
    branch: str
    poll: float | None
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChanged(Event):
    """A webhook has a new secret, or none any more."""

    kind: ClassVar[str] = "source.webhook_changed"
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReceived(Event):
    kind: ClassVar[str] = "source.webhook_received"
    what: str
    """"push", "preview" or "gone"."""
    branch: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitFound(Event):
    """A run or a preview was started for a commit that was fetched."""

    kind: ClassVar[str] = "source.commit_found"
    branch: str
    commit: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkDropped(Event):
    """What a webhook asked for is not done."""

    kind: ClassVar[str] = "source.ignored"
    what: str
    branch: str
    commit: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFailed(Event):
    """A repository cannot be fetched from; told once until it can again."""

    kind: ClassVar[str] = "source.failed"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecovered(Event):
    kind: ClassVar[str] = "source.recovered"
