"""Types of values that hold others. Each inner value is read by itself, so that each error has its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from homeport.spec.locate import Element
from homeport.spec.values import Type, shown


@dataclass(frozen=True, slots=True)
class Array:
    """One or more values, each of them once."""

    of: Type
    what: str
    """What they are, in the plural."""
    such_as: str
    """An array of them as TOML writes it."""
    most: int = 50

    @property
    def words(self) -> str:
        return f"array of {self.what}"

    def items(self, value: object) -> Sequence[tuple[str, Type, object]]:
        """Key, type and raw value of all that is in it. Raises ValueError where it is no such array."""
        if not isinstance(value, list) or not value:
            got = "an empty one" if value == [] else shown(value)
            raise ValueError(f"must be an array of {self.what}, such as {self.such_as}, got {got}")
        if len(value) > self.most:
            raise ValueError(f"must be at most {self.most} {self.what}, got {len(value):,}")
        return [(Element(n), self.of, item) for n, item in enumerate(value, 1)]

    def made(self, items: Sequence[tuple[str, Any]]) -> tuple[Any, ...]:
        """The values as the model holds them. Raises ValueError where they do not go together."""
        found: dict[Any, None] = {}
        for _, item in items:
            if item in found:
                raise ValueError(f"must name each of the {self.what} once: {shown(item)} is there twice")
            found[item] = None
        return tuple(found)

    def read(self, value: object) -> object:
        return _read(self, value)


class Names(Protocol):
    """Which keys a table of the team's choice may have."""

    def read(self, value: object) -> str: ...


@dataclass(frozen=True, slots=True)
class Entries:
    """A table with keys of the team's choice. Held as pairs, in the order of the file."""

    names: Names
    of: Type
    what: str
    """What it is a table of."""
    such_as: str
    """Such a table as TOML writes it, on one line."""
    any_case: bool = False
    """Names that differ in nothing but upper and lower case are the same."""
    most: int = 50

    @property
    def words(self) -> str:
        return f"table of {self.what}"

    def items(self, value: object) -> Sequence[tuple[str, Type, object]]:
        """Key, type and raw value of all that is in it. Raises ValueError where it is no such table."""
        if not isinstance(value, dict):
            raise ValueError(f"must be a table of {self.what}, such as {self.such_as}, got {shown(value)}")
        if len(value) > self.most:
            raise ValueError(f"must be at most {self.most} {self.what}, got {len(value):,}")
        return [(name, _Entry(self.names, self.of, name), item) for name, item in value.items()]

    def made(self, items: Sequence[tuple[str, Any]]) -> tuple[Any, ...]:
        """The pairs as the model holds them. Raises ValueError where they do not go together."""
        seen: dict[str, str] = {}
        for name, _ in items:
            other = seen.setdefault(name.lower() if self.any_case else name, name)
            if other != name:
                raise ValueError(f"must name each once: {shown(other)} and {shown(name)} are the same")
        return tuple(items)

    def read(self, value: object) -> object:
        return _read(self, value)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one entry may be: its name has to fit too."""

    names: Names
    of: Type
    name: str

    @property
    def words(self) -> str:
        return self.of.words

    def read(self, value: object) -> object:
        self.names.read(self.name)
        return self.of.read(value)


Container = Array | Entries


def _read(container: Container, value: object) -> object:
    """All of it. Raises ValueError with the reason of the first wrong item."""
    return container.made([(key, kind.read(item)) for key, kind, item in container.items(value)])
