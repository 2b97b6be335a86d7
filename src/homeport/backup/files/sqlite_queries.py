"""The app's own queries of ``[backup.proof]``, put to a copy of a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from homeport.backup.files.manifest import Database
from homeport.backup.files.queries import SECONDS, wrong
from homeport.kernel.clock import Clock
from homeport.spec.model_backup import ProofQuery

READING = frozenset(
    (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
)
STEPS = 10_000
"""Of SQLite's machine, between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Question:
    path: str
    """Of the file, relative to the data directory."""
    query: ProofQuery


def ask(
    questions: Iterable[Question], databases: Mapping[str, Database], root: Path, clock: Clock
) -> tuple[str, ...]:
    """What is wrong with the answers. ``databases``: of the manifest; their copies are below ``root``."""
    found = []
    for question in questions:
        database = databases.get(question.path)
        if database is None:
            found.append(f"{question.query.name} cannot be asked: {question.path} is not in the backup")
            continue
        problem = _ask(question.query, root / database.copy, clock)
        found += [problem] if problem else []
    return tuple(found)


def _ask(query: ProofQuery, copied: Path, clock: Clock) -> str | None:
    deadline = clock.monotonic() + SECONDS
    try:
        with closing(sqlite3.connect(f"file:{quote(str(copied))}?immutable=1", uri=True)) as connection:
            connection.set_authorizer(
                lambda action, *_: sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY
            )
            connection.set_progress_handler(lambda: clock.monotonic() > deadline, STEPS)
            rows = connection.execute(query.query).fetchmany(1)
    except (sqlite3.Error, sqlite3.Warning) as e:
        why = f"no answer within {SECONDS} s" if clock.monotonic() > deadline else str(e)[:200]
        return f"{query.name}: {why}"
    return wrong(query, rows)
