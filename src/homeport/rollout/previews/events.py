"""What previews tell the journal."""

from dataclasses import dataclass
from typing import ClassVar

from homeport.journal.model import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewCreated(Event):
    kind: ClassVar[str] = "preview.created"
    branch: str
    commit: str
    expires_at: str
    variables: list[str]
    """Names that were copied for it."""
    secrets: list[str]
    copied_from: str
    """The environment that they were set for; "" where nothing was copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewUpdated(Event):
    """Its branch has another commit, which is deployed."""

    kind: ClassVar[str] = "preview.updated"
    branch: str
    commit: str
    expires_at: str
    variables: list[str]
    secrets: list[str]
    copied_from: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewExtended(Event):
    kind: ClassVar[str] = "preview.extended"
    expires_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRemoved(Event):
    kind: ClassVar[str] = "preview.removed"
    branch: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewAsleep(Event):
    """Nobody asked it for a while: its instances were stopped."""

    kind: ClassVar[str] = "preview.asleep"
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewAwake(Event):
    """A request came, its instances run again."""

    kind: ClassVar[str] = "preview.awake"
    instances: int
    seconds: float
    """From noticing the request to the traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewDidNotWake(Event):
    kind: ClassVar[str] = "preview.did_not_wake"
    reason: str
    lines: list[str]
