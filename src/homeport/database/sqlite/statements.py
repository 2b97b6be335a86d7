"""A section of SQL as SQLite's shell would split it, and what of it a migration may not hold. Pure.

SQLite itself says whether a statement is right, when it runs: a file is one transaction, so nothing is left
of one that fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from homeport.database.migrations.errors import BAD_FILE
from homeport.database.migrations.model import Lone, Statement

_TOKEN = re.compile(
    r"""
      (?P<blank>\s+ | --[^\n]* | /\*.*?(?:\*/|\Z))
    | (?P<word>[^\W\d]\w*)
    | (?P<end>;)
    | (?P<other>'(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] | [\w$]+ | .)
    """,
    re.VERBOSE | re.DOTALL,
)
_TRANSACTION = ("BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE")
_PRAGMAS = (
    "application_id",
    "defer_foreign_keys",
    "foreign_key_check",
    "foreign_keys",
    "legacy_alter_table",
    "optimize",
    "recursive_triggers",
    "user_version",
)
"""Those that are about what is in the database, or have no effect beyond the connection."""


def split(filename: str, body: str, line: int) -> tuple[Statement, ...]:
    """The statements of a section whose text ``body`` begins on ``line`` of the file.

    Raises ``database.migration_invalid`` for one that would end the transaction, reach another file or change
    how the database works, and for one that cannot run in a transaction and does not stand alone.
    """
    found: list[Statement] = []
    counted = 0
    for start, text, words in _split(body):
        # Only what came since: a count from the beginning for each statement is quadratic.
        line += body.count("\n", counted, start)
        counted = start
        found.append(_statement(filename, text, line, words))
    statements = tuple(found)
    lone = next((s for s in statements if s.lone is not None), None)
    if lone is not None and len(statements) > 1:
        raise BAD_FILE.error(
            f"cannot use {filename}: line {lone.line} cannot run in a transaction and does not stand alone",
            hint="move it to a migration of its own",
            details=[lone.summary],
        )
    return statements


def _split(body: str) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Where each statement begins, its text, and its first words in upper case."""
    start: int | None = None
    words: list[str] = []
    last = ("", "")
    """The last two words or semicolons: a trigger's body ends with "; END"."""
    for match in _TOKEN.finditer(body):
        if match.lastgroup == "blank":
            continue
        token = match[0]
        if match.lastgroup == "end":
            if start is not None and (not _is_trigger(words) or last == (";", "END")):
                yield start, body[start : match.start()].rstrip(), tuple(words)
                start, words, last = None, [], ("", "")
                continue
            last = (last[1], ";")
            continue
        if start is None:
            start = match.start()
        word = token.upper() if match.lastgroup == "word" else token[:40]
        if len(words) < 4:
            words.append(word)
        last = (last[1], word)
    if start is not None:
        yield start, body[start:].rstrip(), tuple(words)


def _is_trigger(words: list[str]) -> bool:
    rest = [word for word in words[:3] if word not in ("TEMP", "TEMPORARY")]
    return rest[:2] == ["CREATE", "TRIGGER"]


def _statement(filename: str, text: str, line: int, words: tuple[str, ...]) -> Statement:
    why: tuple[str, str] | None = None
    first = words[0]
    if first in _TRANSACTION:
        why = (
            "begins or ends a transaction, and each file runs in one of its own",
            "leave out BEGIN, COMMIT, ROLLBACK and SAVEPOINT",
        )
    elif first in ("ATTACH", "DETACH") or (first == "VACUUM" and "INTO" in text.upper().split()):
        why = ("reaches another file", "a migration changes its own database only")
    elif first == "PRAGMA" and _pragma(words) not in _PRAGMAS:
        why = (
            "changes how the database works, which Homeport looks after",
            f"PRAGMA may be {', '.join(_PRAGMAS)}",
        )
    elif first == ".":
        why = ("is a command of SQLite's shell, which does not run here", "leave it out")
    if why is not None:
        raise BAD_FILE.error(f"cannot use {filename}: line {line} {why[0]}", hint=why[1])
    return Statement(text, line, Lone.REPEATABLE if first == "VACUUM" else None)


def _pragma(words: tuple[str, ...]) -> str:
    """Its name, without the schema."""
    name = words[3] if words[2:3] == (".",) and len(words) > 3 else words[1] if len(words) > 1 else ""
    return name.lower()
