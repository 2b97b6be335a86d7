"""Upkeep as data: what is there, what to run, how it went. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from homeport.kernel.errors import HomeportError

INDEX = ("i", "I")
TABLE = ("r", "p", "m", "t")


@dataclass(frozen=True, slots=True)
class Name:
    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Seen:
    """The target, as the catalog has it. Sizes in bytes."""

    name: Name
    kind: str
    """As ``pg_class.relkind``."""
    bytes: int
    rows: float | None
    """Estimated; None where nothing was counted yet."""
    filled: bool = True
    """Of a materialized view: whether it has been refreshed ever."""
    unique: bool = False
    """Of a materialized view: an index that REFRESH CONCURRENTLY can use."""
    exclusion: bool = False
    """Of an index: it belongs to an exclusion constraint."""
    system: bool = False
    leftovers: tuple[Name, ...] = ()
    """Invalid indexes that a REINDEX CONCURRENTLY of it left which was cut off."""
    building: bool = False
    """Another session builds an index of its table this moment."""


@dataclass(frozen=True, slots=True)
class Clean:
    """An invalid index is dropped by its name."""

    index: Name


@dataclass(frozen=True, slots=True)
class Refresh:
    view: Name
    concurrently: bool


@dataclass(frozen=True, slots=True)
class Analyze:
    table: Name | None
    """None: every table of the database that the role may analyse."""


@dataclass(frozen=True, slots=True)
class Reindex:
    target: Name
    kind: str
    """``INDEX`` or ``TABLE``."""


Step = Clean | Refresh | Analyze | Reindex


class State(Enum):
    DONE = "done"
    TIMED_OUT = "timed out"
    FAILED = "failed"
    """The statement, or the database refused it."""
    REFUSED = "refused"
    """It was not begun: the target is not there, or not fit for it."""


@dataclass(frozen=True, slots=True)
class Measure:
    bytes: int
    rows: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    upkeep: str
    """Its name."""
    state: State
    statement: str
    seconds: float
    before: Measure | None = None
    after: Measure | None = None
    dropped: tuple[str, ...] = ()
    """Leftovers that are gone."""
    left: tuple[str, ...] = ()
    """Leftovers that are there still; the next run drops them."""
    error: HomeportError | None = None

    def to_json(self) -> dict[str, Any]:
        error = self.error and {
            "code": self.error.code,
            "sentence": self.error.sentence,
            "hint": self.error.hint,
        }
        return {
            "upkeep": self.upkeep,
            "state": self.state.value,
            "statement": self.statement,
            "seconds": self.seconds,
            "before": _measure(self.before),
            "after": _measure(self.after),
            "dropped": list(self.dropped),
            "left": list(self.left),
            "error": error,
        }


def _measure(measure: Measure | None) -> dict[str, Any] | None:
    return None if measure is None else {"bytes": measure.bytes, "rows": measure.rows}
