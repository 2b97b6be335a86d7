"""Object lock of S3-compatible stores, as frozen values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

GOVERNANCE = "GOVERNANCE"
"""Who has a right of its own for that may remove what is locked."""
COMPLIANCE = "COMPLIANCE"
"""Nobody may, until the time is over."""
MODES = (GOVERNANCE, COMPLIANCE)
LONGEST = 3650
"""Days."""


@dataclass(frozen=True, slots=True)
class Lock:
    """How long a bucket keeps each version that is written, whoever deletes or overwrites it."""

    mode: str
    days: int

    def covers(self, other: Lock) -> bool:
        """Whether it is at least as strong as ``other``, and as long."""
        return self.days >= other.days and MODES.index(self.mode) >= MODES.index(other.mode)

    def __str__(self) -> str:
        return f"{self.days} d ({self.mode.lower()})"

    def to_json(self) -> dict[str, Any]:
        return {"mode": self.mode, "days": self.days}

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> Lock | None:
        return cls(document["mode"], document["days"]) if document else None


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of an object, or a delete marker: what a deletion leaves in a bucket with versions."""

    key: str
    version: str
    at: datetime
    """To the second, by the store's clock."""
    is_marker: bool = False
    is_latest: bool = False
    size: int = 0
    etag: str = ""

    def has_content_of(self, other: Entry) -> bool:
        return (self.size, self.etag) == (other.size, other.etag)


@dataclass(frozen=True, slots=True)
class Known:
    """What was asked of a repository's store, and what it had when it was looked at last."""

    repository: str
    asked: Lock
    seen: Lock | None
    """None: its bucket locks nothing by default."""
    seen_at: datetime
    problem: str
    """Why it could not be looked at, or not all of it is locked; "" if neither."""
    renewed_at: datetime | None
    """When the lock of all that is in use was extended last; None: what was there before it is not locked yet."""
