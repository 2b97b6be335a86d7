"""What the values of ``[backup]`` may be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from homeport.spec.values import shown

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
