"""What the table of keys is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeport.spec.values import Type

Example = str | int | float | bool | Sequence[str | int] | Mapping[str, str | int]
"""A TOML value for the reference."""


@dataclass(frozen=True, slots=True)
class Key:
    table: str
    """The table it stands in, with ``NAME`` for a name of the team's choice: ``processes.NAME``."""
    name: str
    type: Type
    meaning: str
    example: Example
    default: Example | None = None
    absent: str = ""
    """What holds without the key, where no default says it."""

    @property
    def path(self) -> str:
        return f"{self.table}.{self.name}"


@dataclass(frozen=True, slots=True)
class Table:
    path: str
    meaning: str
    """Markdown for the reference."""
    example: str = ""
    """Lines for the reference, where the keys are of the team's choice rather than in the table of keys."""
    array: bool = False
    """It may be there several times: ``[[pipeline.stage]]``."""

    @property
    def heading(self) -> str:
        return f"[[{self.path}]]" if self.array else f"[{self.path}]"
