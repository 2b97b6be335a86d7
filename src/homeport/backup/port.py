"""What backups ask of the rooms above: which data there is, and what its owners want of its backups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from homeport.backup.files.model import dump_series
from homeport.backup.files.plan import Sources
from homeport.spec.model_backup import Backup, Keep


@dataclass(frozen=True, slots=True)
class WantedCluster:
    """A cluster of Homeport's own, and what the environments with databases in it ask together."""

    name: str
    keep: Keep = field(default_factory=Keep)
    """The most of each."""
    window: float = 7 * 86400.0
    """Seconds; the longest."""
    synchronous: bool = False
    questions: tuple[dict[str, Any], ...] = ()
    """As ``physical.proof.Question``."""


@dataclass(frozen=True, slots=True)
class WantedFiles:
    sources: Sources
    keep: Keep = field(default_factory=Keep)


@dataclass(frozen=True, slots=True)
class WantedDump:
    """A database that somebody else runs."""

    app: str
    environment: str
    database: str
    secret: str
    """Which of the environment's holds its URL."""
    keep: Keep = field(default_factory=Keep)
    questions: tuple[dict[str, Any], ...] = ()
    """As ``ProofQuery``."""

    @property
    def series(self) -> str:
        return dump_series(self.app, self.environment, self.database)


@dataclass(frozen=True, slots=True)
class Wanted:
    """All data that is to be backed up just now."""

    clusters: tuple[WantedCluster, ...] = ()
    files: tuple[WantedFiles, ...] = ()
    schedules: tuple[Backup, ...] = ()
    """Of the environments; the defaults hold where there is none."""
    dumps: tuple[WantedDump, ...] = ()

    @property
    def window(self) -> float:
        return max((c.window for c in self.clusters), default=7 * 86400.0)


class Owners(Protocol):
    def wanted(self) -> Wanted:
        """Reaches no server."""
        ...


def together(keeps: Sequence[Keep]) -> Keep:
    """The most of each; the default for none."""
    if not keeps:
        return Keep()
    return Keep(*(max(getattr(k, name) for k in keeps) for name in ("hourly", "daily", "weekly", "monthly")))
