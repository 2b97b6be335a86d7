"""What is told of databases' schemas."""

from dataclasses import dataclass
from typing import ClassVar

from homeport.journal.model import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationApplied(Event):
    kind: ClassVar[str] = "migration.applied"
    name: str
    """The database, as in homeport.toml."""
    release: str
    version: str
    filename: str
    direction: str
    """"up" or "down"."""
    seconds: float
    attempts: int
    """How often it was begun until it got its locks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationWaits(Event):
    """It waits for others and lets them go on meanwhile."""

    kind: ClassVar[str] = "migration.waits"
    name: str
    why: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolMigrated(Event):
    """The app's own tool ended well."""

    kind: ClassVar[str] = "migration.tool_ended"
    name: str
    command: str
    seconds: float
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoFailed(Event):
    """What a change did to a schema could not be taken back: the expanded shape stays."""

    kind: ClassVar[str] = "migration.undo_failed"
    name: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractsWait(Event):
    """Migrations that take something away, kept back until their release has served its watch time."""

    kind: ClassVar[str] = "migration.contracts_wait"
    name: str
    release: str
    versions: list[str]
