"""What databases tell the journal."""

from dataclasses import dataclass
from typing import ClassVar

from homeport.journal.model import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMade(Event):
    kind: ClassVar[str] = "database.cluster_made"
    cluster: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseMade(Event):
    kind: ClassVar[str] = "database.made"
    name: str
    cluster: str
    database: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsRotated(Event):
    """The app is given a new login; the one before is valid still."""

    kind: ClassVar[str] = "database.rotated"
    name: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsRetired(Event):
    """The login before is valid no more."""

    kind: ClassVar[str] = "database.retired"
    name: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseDropped(Event):
    kind: ClassVar[str] = "database.dropped"
    name: str
    cluster: str
    database: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRestarted(Event):
    """``held``: the databases whose clients waited meanwhile."""

    kind: ClassVar[str] = "database.restarted"
    cluster: str
    held: list[str]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellOpened(Event):
    """A person was given a login to a database; ``read_only``: one that may only look."""

    kind: ClassVar[str] = "database.shell"
    name: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepEnded(Event):
    kind: ClassVar[str] = "database.upkeep"
    name: str
    upkeep: str
    state: str
    """"done", "timed out", "failed" or "refused"."""
    statement: str
    seconds: float
    reason: str
    """Why it did not end well; "" where it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsHeld(Event):
    """``held``: from now on clients wait; not held: they go on."""

    kind: ClassVar[str] = "database.held"
    name: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePointMade(Event):
    kind: ClassVar[str] = "database.restore_point"
    name: str
    point: str
    lsn: str
