"""What a database has that masks are about, as frozen values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

Key = tuple[str, str, str]
"""(schema, table, column)"""

TEXT = frozenset({"text", "varchar", "bpchar", "citext"})
WHOLE = frozenset({"int2", "int4", "int8"})
REAL = frozenset({"numeric", "float4", "float8", "money"})
MOMENTS = frozenset({"date", "timestamp", "timestamptz"})
ADDRESSES = frozenset({"inet", "cidr"})
JSON = frozenset({"json", "jsonb"})


@dataclass(frozen=True, slots=True)
class Column:
    schema: str
    table: str
    name: str
    type: str
    """What its type is made of, as PostgreSQL calls it: a domain's own base; ``_text`` is an array."""
    declared: str
    """Its type as SQL has it, quoted."""
    length: int | None = None
    """Characters at most."""
    not_null: bool = False
    unique: bool = False
    """Alone or with others, or in an expression that is unique."""
    generated: bool = False
    owner: str = ""
    """Of its table."""

    @property
    def key(self) -> Key:
        return self.schema, self.table, self.name

    def shown(self, database: str = "main") -> str:
        """As ``[backup.mask]`` names it."""
        schema = "" if self.schema == "public" else f"{self.schema}."
        where = "" if database == "main" else f"{database}:"
        return f"{where}{schema}{self.table}.{self.name}"


@dataclass(frozen=True, slots=True)
class Catalog:
    columns: tuple[Column, ...]
    references: tuple[tuple[Key, Key], ...] = ()
    """(referencing, referenced) of foreign keys."""
    inside: dict[tuple[str, str], tuple[str, str]] | None = None
    """By (schema, table) of a partition, or of one that inherits: the table that it is part of."""
    inherited: frozenset[tuple[str, str]] = frozenset()
    """Tables that others inherit from, with columns of their own."""

    def find(self, key: Key) -> Column | None:
        return next((c for c in self.columns if c.key == key), None)


@dataclass(frozen=True, slots=True)
class Shape:
    """What all columns that hold the same values ask of a mask together."""

    unique: bool = False
    length: int | None = None
    part: str = "full"
    """Of a name: "first", "last" or "full"."""
    top: int = 2**63 - 1
    """The largest whole number."""


@dataclass(frozen=True, slots=True)
class Masked:
    column: Column
    rule: str
    shape: Shape

    @property
    def moves(self) -> bool:
        """Whether one row may get the value that another one still has."""
        return self.column.unique and self.rule in ("number", "date")
