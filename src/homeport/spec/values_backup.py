"""What the values of ``[backup]`` may be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from homeport.kernel.units import parse_size
from homeport.spec.model_backup import DRILLS
from homeport.spec.values import Choice, shown

_PART = r"[A-Za-z_][A-Za-z0-9_$]{0,62}"
_COLUMN = re.compile(
    rf"((?P<database>[a-z][a-z0-9-]{{0,39}}):)?((?P<schema>{_PART})\.)?(?P<table>{_PART})\.(?P<column>{_PART})"
)


@dataclass(frozen=True, slots=True)
class Query:
    """One statement for the database to answer; how it ends is the database's to say."""

    words: str = "SQL query"
    longest: int = 4000

    def read(self, value: object) -> str:
        text = value.strip().rstrip(";").rstrip() if isinstance(value, str) else ""
        if not text or "\0" in text or len(text) > self.longest:
            raise ValueError(
                f'must be an SQL query of at most {self.longest} characters, such as "SELECT count(*) FROM orders", '
                f"got {shown(value)}"
            )
        return text


UNLIMITED = "unlimited"


@dataclass(frozen=True, slots=True)
class Rate:
    """Bytes a second; None for what has no limit."""

    low: str = "5MB"
    high: str = "100GB"

    @property
    def words(self) -> str:
        return f'rate, {self.low}/s to {self.high}/s, or "{UNLIMITED}"'

    def read(self, value: object) -> int | None:
        if value == UNLIMITED:
            return None
        must = (
            f'must be a rate from {self.low}/s to {self.high}/s, such as "100MB/s", or "{UNLIMITED}", '
            f"got {shown(value)}"
        )
        if not isinstance(value, str) or not value.endswith("/s"):
            raise ValueError(must)
        try:
            rate = parse_size(value.removesuffix("/s"))
        except (ValueError, OverflowError):
            raise ValueError(must) from None
        if not parse_size(self.low) <= rate <= parse_size(self.high):
            raise ValueError(must)
        return rate


@dataclass(frozen=True, slots=True)
class Drills:
    """Some of the scenarios, each once."""

    words: str = "array of scenarios"

    def read(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            got = "an empty one" if value == [] else shown(value)
            raise ValueError(f'must be an array of scenarios, such as ["table-dropped"], got {got}')
        found = tuple(Choice(DRILLS).read(item) for item in value)
        if len(set(found)) < len(found):
            raise ValueError("must name each scenario once")
        return found


@dataclass(frozen=True, slots=True)
class MaskedColumn:
    """A column of a table; held as (database, schema and table, column)."""

    words: str = "column"

    def read(self, value: object) -> tuple[str, str, str]:
        match = _COLUMN.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError(
                'must be a table and its column, such as "users.email" or "crm.users.email", in a database other '
                f'than main "reports:users.email", got {shown(value)}'
            )
        return match["database"] or "main", f"{match['schema'] or 'public'}.{match['table']}", match["column"]
