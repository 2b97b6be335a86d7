"""What a restore is of and what it makes, as values and names. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from homeport.backup.physical.model import AtPoint, AtTime, Newest, OfBackup, Target
from homeport.journal.store import parse_time, text_time

LONGEST = 63
"""Bytes of a name in PostgreSQL."""
HASH = 6
SIDE = re.compile(r"restored_\d{8}t\d{6}")
"""A schema with tables brought back beside those that serve."""


def stamp(at: datetime) -> str:
    return f"{at:%Y%m%dt%H%M%S}"


def beside(database: str, what: str) -> str:
    """A database's name beside another one's; two long names that begin alike stay two."""
    tail = f"_{what}"
    if len(database) + len(tail) <= LONGEST:
        return database + tail
    short = hashlib.sha256(database.encode()).hexdigest()[:HASH]
    return f"{database[: LONGEST - len(tail) - HASH - 1]}_{short}{tail}"


def target_document(target: Target) -> dict[str, Any]:
    match target:
        case Newest():
            return {"kind": "newest"}
        case OfBackup(label):
            return {"kind": "backup", "label": label}
        case AtTime(at):
            return {"kind": "time", "at": text_time(at)}
        case AtPoint(name, lsn, at):
            return {"kind": "point", "name": name, "lsn": lsn, "at": text_time(at)}


def target_of(document: Mapping[str, Any]) -> Target:
    match document["kind"]:
        case "newest":
            return Newest()
        case "backup":
            return OfBackup(document["label"])
        case "time":
            return AtTime(parse_time(document["at"]))
        case _:
            return AtPoint(document["name"], document["lsn"], parse_time(document["at"]))


@dataclass(frozen=True, slots=True)
class Place:
    """Which database of which cluster, and the names of what a run makes beside it."""

    app: str
    environment: str
    name: str
    """In homeport.toml."""
    cluster: str
    run: str
    """By it copies of the cluster are told apart."""
    fresh: str
    """The database while it is being filled."""
    before: str
    """The one that served, once the fresh one does."""
    side: str
    """The schema for tables."""

    def document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Place:
        return cls(**{key: document[key] for key in cls.__slots__})

    @classmethod
    def for_run(
        cls, run: str, at: datetime, *, app: str, environment: str, name: str, cluster: str, database: str
    ) -> Place:
        return cls(
            app,
            environment,
            name,
            cluster,
            run,
            beside(database, f"new_{run.removeprefix('b-')}"),
            beside(database, f"before_{stamp(at)}"),
            f"restored_{stamp(at)}",
        )


@dataclass(frozen=True, slots=True)
class TableLoss:
    """What of a table would be otherwise after a return."""

    table: str
    now: int
    """Rows; -1: it is not there."""
    then: int
    lost: int | None = None
    """Rows that are there now and would not be; None: not counted one by one."""
    back: int | None = None
    """Rows that are not there now and would be."""
    changed: int | None = None
    why: str = ""
    """Why they were not counted."""


def losses(now: Mapping[str, int], then: Mapping[str, int], differ: frozenset[str]) -> tuple[TableLoss, ...]:
    """Of tables whose content differs; those that are in one of the two only are among them."""
    found = []
    for table in sorted(now.keys() | then.keys()):
        if table not in now or table not in then or table in differ:
            found.append(TableLoss(table, now.get(table, -1), then.get(table, -1)))
    return tuple(found)
