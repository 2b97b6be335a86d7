"""Events: what happened, told in the transaction in which it became so."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. Subclasses name it (``kind``) and carry its figures.

    A field's value is a string, number, bool, None, or a list or dict of these.
    """

    kind: ClassVar[str]
    app: str | None = None
    environment: str | None = None
    change: str | None = None

    def data(self) -> dict[str, Any]:
        """The fields beyond the common ones."""
        common = {"app", "environment", "change"}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in common}


@dataclass(frozen=True, slots=True)
class Record:
    """An event as it stands in the journal."""

    seq: int
    at: datetime
    kind: str
    app: str | None
    environment: str | None
    change: str | None
    actor: str
    data: dict[str, Any]
    hash: str
    """SHA-256 over the record before it and this record, in hex: a changed past shows."""
