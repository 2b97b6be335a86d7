"""Migration files for SQLite: the same format, with SQLite's SQL. Pure.

Names, encoding, sections and comments are read by :mod:`homeport.database.migrations.files`, from the file
without its statements: its parser of those is PostgreSQL's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from homeport.database.migrations import files as format_
from homeport.database.migrations.errors import BAD_FILE
from homeport.database.migrations.model import Migration, Section
from homeport.database.sqlite.statements import split
from homeport.kernel.errors import HomeportError


def parse_all(files: Iterable[tuple[str, bytes]]) -> tuple[Migration, ...]:
    """All files in order. Raises ``database.migration_invalid`` with the problems of all of them."""
    raw = sorted(files)
    problems: list[HomeportError] = []
    found: list[Migration] = []
    try:
        bare = format_.parse_all((name, _bare(data)) for name, data in raw)
    except HomeportError as error:
        bare = ()
        problems.append(error)
    by_name = {migration.filename: migration for migration in bare}
    for name, data in raw:
        if name not in by_name:
            continue
        try:
            found.append(_whole(by_name[name], data.decode().replace("\r\n", "\n")))
        except HomeportError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise BAD_FILE.error(
            f"cannot use the migrations: {len(problems)} problems",
            hint=problems[0].hint,
            details=[line for p in problems for line in (p.sentence, *p.details)],
        )
    return tuple(found)


def _bare(data: bytes) -> bytes:
    """The file with empty lines for its statements; as it is where it cannot be read, so that it is refused."""
    if len(data) > format_.LIMIT or b"\0" in data or data.startswith(tuple(format_.DECLARED)):
        return data
    try:
        text = data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        return data
    first = format_.MARKER.search(text)
    if first is None:
        return data
    head, body = text[: first.start()], text[first.start() :]
    lines = (line if line.lstrip().startswith("--") else "" for line in body.split("\n"))
    return (head + "\n".join(lines)).encode()


def _whole(bare: Migration, text: str) -> Migration:
    markers = list(format_.MARKER.finditer(text))
    ends = [*(marker.start() for marker in markers[1:]), len(text)]
    sections = []
    for marker, end in zip(markers, ends, strict=True):
        body, line = text[marker.end() : end], text.count("\n", 0, marker.start()) + 1
        sections.append(Section(body, line, split(bare.filename, body, line)))
    up, *rest = sections
    # The template of a new file leaves an empty down section where nobody wrote one.
    down = rest[0] if rest and (rest[0].statements or not up.statements) else None
    return replace(bare, source=text, checksum=format_.checksum(text), up=up, down=down)
