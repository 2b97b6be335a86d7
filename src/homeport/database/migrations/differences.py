"""What differs between two schemas. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff

Snapshot = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Difference:
    kind: str
    name: str
    there: str | None
    """Its definition in the database; None: it is missing."""
    expected: str | None
    """Its definition by the migrations; None: they make no such thing."""

    @property
    def sentence(self) -> str:
        if self.there is None:
            return f"{self.kind} {self.name} is missing"
        if self.expected is None:
            return f"{self.kind} {self.name} is there, and no migration makes it"
        return f"{self.kind} {self.name} differs"

    @property
    def diff(self) -> tuple[str, ...]:
        """Lines with - for what migrations give and + for what is there."""
        expected = (self.expected or "").splitlines() if self.expected is not None else []
        there = (self.there or "").splitlines() if self.there is not None else []
        return tuple(unified_diff(expected, there, "migrations", "database", lineterm="", n=1))[2:]


def differences(there: Snapshot, expected: Snapshot) -> tuple[Difference, ...]:
    """In order of kind and name. A table that is missing as a whole stands for its columns and the like."""
    found = []
    gone = {name for kind, name in expected.keys() - there.keys() if kind in ("table", "view")}
    extra = {name for kind, name in there.keys() - expected.keys() if kind in ("table", "view")}
    for kind, name in sorted(there.keys() | expected.keys()):
        a, b = there.get((kind, name)), expected.get((kind, name))
        if a == b:
            continue
        table = name.rpartition(".")[0]
        if kind in ("column", "constraint", "trigger", "policy") and table in (gone if a is None else extra):
            continue
        found.append(Difference(kind, name, a, b))
    return tuple(found)
