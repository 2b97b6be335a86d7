"""What insight says of a database: findings, each with what mends it and what that locks. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

Row = Mapping[str, Any]
"""Of a rule's query, by column. Names of objects come quoted as SQL needs them."""

LEAST_VERSION = 150000


class Severity(IntEnum):
    NOTICE = 1
    """Costs something."""
    WARNING = 2
    """Will hurt, or hurts already."""
    CRITICAL = 3
    """Data or service is in danger."""


@dataclass(frozen=True, slots=True)
class Mend:
    """What to do about a finding."""

    statement: str
    """SQL to run as it stands, "" where no single statement mends it: then ``note`` says what does."""
    locks: str
    """What it locks, and for how long."""
    safe: bool
    """Whether it can run while the app is under load."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    rule: str
    severity: Severity
    what: str
    """The object: a table, an index, a session, a role, a setting, or the database."""
    sentence: str
    mend: Mend
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What the sentence rests on. Bytes, seconds and rows; shares from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on something is a fault. Seconds, bytes, rows; shares from 0 to 1."""

    connections: float = 0.8
    connections_critical: float = 0.95
    idle_in_transaction: float = 60.0
    long_transaction: float = 300.0
    lock_wait: float = 2.0
    prepared: float = 600.0
    slot_bytes: int = 256_000_000
    slot_bytes_critical: int = 5_000_000_000
    slow_mean: float = 0.050
    slow_calls: int = 20
    statistics_age: float = 7 * 86400.0
    """Younger counters do not say that an index is unused: a weekly job may still use it."""
    unused_bytes: int = 1_000_000
    large_rows: int = 10_000
    """A table from which on a missing index or missing statistics hurt."""
    scans: int = 50
    selective: float = 0.05
    """An index is worth while for what reads at most so much of a table."""
    bloat_bytes: int = 10_000_000
    bloat: float = 0.5
    dead_rows: int = 10_000
    dead: float = 0.3
    sequence: float = 0.8
    sequence_critical: float = 0.95
    wraparound_times: float = 2.0
    """Of ``autovacuum_freeze_max_age``: at one autovacuum begins, so at two it does not succeed."""
    wraparound_critical: int = 1_500_000_000
    """Of 2^31 transactions, less 3 million, after which PostgreSQL takes no more writes."""
    cache_hits: float = 0.95
    cache_reads: int = 50_000
    """Blocks of 8 kB. With fewer the share says little: a cold cache."""
    growth: float = 0.2
    """Of a database in 30 days."""
    growth_bytes: int = 1_000_000_000


@dataclass(frozen=True, slots=True)
class About:
    """What the judges need to know besides their rows."""

    database: str
    """Quoted, as :data:`Row` has names."""
    version: int
    """As ``server_version_num``: 150018."""
    at: datetime
    statistics_age: float
    """Seconds since the counters began."""
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    title: str
    judge: Callable[[Sequence[Row], About], Iterable[Finding]]
    sql: str = ""
    """The file with its query; by default its id with underscores."""
    extension: str = ""
    """One that must be there; the query may name its schema as ``{extension}``."""
    reads_stats: bool = False
    """Whether it needs to see the sessions of other roles (pg_monitor)."""

    @property
    def file(self) -> str:
        return f"{self.sql or self.id.replace('-', '_')}.sql"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A rule that could not look."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Query:
    """One normalised statement, as pg_stat_statements counts it."""

    id: str
    text: str
    user: str
    calls: int
    total: float
    """Seconds, of all calls."""
    mean: float
    rows: int
    hits: float | None
    """The share of its blocks that came from the cache; None where it read none."""
    share: float
    """Of the time that all statements took."""
    plan: Mapping[str, Any] | None = None
    """As ``EXPLAIN (FORMAT JSON)`` gives it, for any parameters."""
    no_plan: str = ""
    """Why there is none."""


@dataclass(frozen=True, slots=True)
class Report:
    about: About
    findings: tuple[Finding, ...]
    """The gravest first."""
    skipped: tuple[Skipped, ...]
    queries: tuple[Query, ...]
    """Those that took most time in all."""
    figures: Mapping[str, Any]
    rules: tuple[str, ...]
    """Those that were asked for."""

    def to_json(self) -> dict[str, Any]:
        return {
            "database": self.about.database,
            "version": version_text(self.about.version),
            "at": self.about.at.isoformat(),
            "statistics_age": self.about.statistics_age,
            "figures": dict(self.figures),
            "findings": [asdict(f) | {"severity": f.severity.name.lower()} for f in self.findings],
            "skipped": [asdict(s) for s in self.skipped],
            "queries": [asdict(q) for q in self.queries],
            "rules": list(self.rules),
        }


def version_text(number: int) -> str:
    """150018 is 15.18."""
    return f"{number // 10000}.{number % 10000}"


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"


_VALUE = re.compile(r"'|\$[A-Za-z_0-9]*\$")


def without_values(text: str) -> str:
    """A statement up to its first string, which may be a password or what an app's user wrote."""
    found = _VALUE.search(text)
    return text if found is None else f"{text[: found.start()]}…"


def literal(text: str) -> str:
    """A string as SQL writes it, with standard_conforming_strings."""
    return "'" + text.replace("'", "''") + "'"
