"""``python -m homeport.database.sqlite.shell STORAGE FILE [-readonly] [SQL]``: a small shell for SQLite, for machines
without the program sqlite3. Statements come from the argument, or from stdin; rows go out as sqlite3 prints them."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from homeport.database.sqlite.file import SqliteFile
from homeport.kernel.errors import HomeportError

PROMPT, MORE = "sqlite> ", "   ...> "


def main(arguments: Sequence[str]) -> int:
    words = [a for a in arguments if a != "-readonly"]
    if len(words) not in (2, 3):
        print("usage: STORAGE FILE [-readonly] [SQL]", file=sys.stderr)
        return 2
    storage, path, *text = words
    try:
        return run(SqliteFile(Path(storage), path), text[0] if text else None, "-readonly" in arguments)
    except HomeportError as e:
        print(f"error: {e.sentence}", file=sys.stderr)
        return e.kind.exit_status


def run(file: SqliteFile, text: str | None, read_only: bool) -> int:
    """Exit status 1 when the last statement failed; with ``text`` at the first that does."""
    status = 0
    with file.connect() as connection:
        if read_only:
            file.run(connection, "PRAGMA query_only=ON")
        for statement in split(text) if text is not None else asked():
            if statement.strip().rstrip(";") in (".quit", ".exit"):
                return status
            status = 0 if _execute(file, connection, statement) else 1
            if status and text is not None:
                return status
    return status


def split(text: str) -> Iterator[str]:
    """The statements of a text."""
    rest = ""
    for piece in text.split(";"):
        rest += f"{piece};"
        if sqlite3.complete_statement(rest) and rest.strip("; \n"):
            yield rest
            rest = ""
        elif not rest.strip("; \n"):
            rest = ""
    if rest.strip("; \n"):
        yield rest


def asked() -> Iterator[str]:
    """Statements of a person, or of a pipe."""
    terminal = sys.stdin.isatty()
    rest = ""
    while True:
        if terminal:
            print(MORE if rest else PROMPT, end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            if rest.strip():
                yield rest
            return
        rest += line
        if sqlite3.complete_statement(rest) or (not rest.strip("; \n")) or rest.startswith("."):
            if rest.strip("; \n"):
                yield rest
            rest = ""


def _execute(file: SqliteFile, connection: sqlite3.Connection, statement: str) -> bool:
    try:
        with file.acting():
            for row in connection.execute(statement):
                print("|".join("" if value is None else str(value) for value in row))
    except sqlite3.Error as e:
        print(f"error: {e}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
