"""Where a SQLite database is, and what was found out about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from homeport.spec.model import Storage
from homeport.spec.model_database import Database


@dataclass(frozen=True, slots=True)
class Place:
    """A file in a storage directory."""

    storage: str
    """The storage's name."""
    file: str
    """Relative to its directory."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A database that can be used."""

    bytes: int
    """On disk, what is not yet in the file itself included."""
    problems: tuple[str, ...] = ()
    """What SQLite's own check found; () is none."""


def place(database: Database, storage: Iterable[Storage]) -> Place:
    """Raises ValueError where its path lies in none of them, which the spec does not let happen."""
    for s in storage:
        if database.path.startswith(f"{s.path}/"):
            return Place(s.name, database.path.removeprefix(f"{s.path}/"))
    raise ValueError(f"{database.path} lies in no storage")
