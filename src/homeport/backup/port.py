"""What backups ask of the rooms above: which data there is, and what its owners want of its backups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from homeport.backup.files.model import dump_series
from homeport.backup.files.plan import Sources
from homeport.spec.model_backup import PROOF_RATE, Backup, Keep


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes a second that a backup and a proof may read, and write; None: as fast as it goes."""

    backup: int | None = None
    proof: int | None = PROOF_RATE


@dataclass(frozen=True, slots=True)
class WantedDrills:
    """What an environment asks of drills."""

    app: str
    environment: str
    line: str
    timezone: str
    scenarios: tuple[str, ...]
    cluster: str = ""
    """Where its first database is; "": it has none of Homeport's own."""

    @property
    def of(self) -> str:
        return f"{self.app} {self.environment}"


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
    rates: Rates = field(default_factory=Rates)
    """The lowest of each."""
    rpo: float | None = None
    """Seconds; the lowest, None where nobody has a target."""
    rto: float | None = None


@dataclass(frozen=True, slots=True)
class WantedFiles:
    sources: Sources
    keep: Keep = field(default_factory=Keep)
    rates: Rates = field(default_factory=Rates)
    questions: tuple[dict[str, Any], ...] = ()
    """Of SQLite files in it: {"path", "query"}, the path relative to the data directory, the query as ``ProofQuery``."""


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
    rates: Rates = field(default_factory=Rates)

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
    drills: tuple[WantedDrills, ...] = ()

    @property
    def series(self) -> frozenset[str]:
        """Of files and dumps."""
        return frozenset((*(f.sources.series for f in self.files), *(d.series for d in self.dumps)))

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


def slowest(backups: Iterable[Backup]) -> Rates:
    """The lowest of each; the default for none."""
    found = tuple(backups)
    if not found:
        return Rates()
    return Rates(least(b.rate for b in found), least(b.proof_rate for b in found))


T = TypeVar("T", int, float)


def least(values: Iterable[T | None]) -> T | None:
    """None where all are."""
    return min((v for v in values if v is not None), default=None)
