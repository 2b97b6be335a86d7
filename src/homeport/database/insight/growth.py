"""How a database grew between two snapshots of its sizes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from homeport.database.insight.model import Finding, Limits, Mend, Severity, percent
from homeport.kernel.units import format_duration, format_size

MONTH = timedelta(days=30)
SHORTEST = timedelta(hours=6)
"""Of less nothing is foretold."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes at one moment; of tables with their indexes."""

    at: datetime
    database: str
    bytes: int
    tables: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "database": self.database,
            "bytes": self.bytes,
            "tables": dict(self.tables),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sizes:
        """Raises KeyError, TypeError or ValueError for what :meth:`to_json` did not write."""
        tables = {str(name): int(value) for name, value in data["tables"].items()}
        return cls(datetime.fromisoformat(data["at"]), str(data["database"]), int(data["bytes"]), tables)


def growth(before: Sizes, after: Sizes, limits: Limits | None = None) -> Iterator[Finding]:
    """Findings for the database and for the tables that made it grow."""
    limits = limits or Limits()
    span = after.at - before.at
    if span < SHORTEST:
        return
    month = MONTH / span
    grown = after.bytes - before.bytes
    if _grave(before.bytes, grown * month, limits):
        yield _finding(after.database, before.bytes, after.bytes, month, span)
    for table, now in sorted(after.tables.items(), key=lambda t: -(t[1] - before.tables.get(t[0], 0))):
        then = before.tables.get(table, 0)
        if _grave(then, (now - then) * month, limits):
            yield _finding(table, then, now, month, span)


def _grave(then: int, in_a_month: float, limits: Limits) -> bool:
    return in_a_month >= limits.growth_bytes and in_a_month >= limits.growth * then


def _finding(what: str, then: int, now: int, month: float, span: timedelta) -> Finding:
    in_a_month = (now - then) * month
    rate = f" ({percent(in_a_month / then)})" if then else ""
    return Finding(
        "growth",
        Severity.NOTICE,
        what,
        f"{what} grew from {format_size(then)} to {format_size(now)} in {format_duration(span.total_seconds())}: "
        f"{format_size(in_a_month)}{rate} in 30 days at that rate",
        Mend(
            "",
            "nothing",
            True,
            "more room in time, or old rows deleted: by partition, so that it costs nothing",
        ),
        {"before": then, "after": now, "seconds": span.total_seconds(), "month": in_a_month},
    )
