"""What PostgreSQL and its programs say when they refuse, without the values of rows.

Errors are recorded for good, in runs and in the journal, and values of rows may be about people. The server puts
them into DETAIL and CONTEXT, and quotes them in the message where a value itself is at fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MOST = 300
"""Characters of one sentence of the server's."""
_QUOTED = re.compile(r"""["'»«„“].*["'»«”“]""", re.DOTALL)
_AT_FAULT = re.compile(r"""(?<=: )["'»«„“].*\Z""", re.DOTALL)
_VALUE = re.compile(r'\b(value|Wert|valeur) ["»«„“].*(?:["»«”“]|\Z)', re.DOTALL)
_FUNCTION = re.compile(r"PL/pgSQL \w+ [^\n:]*?\bline \d+ at [\w /]+|COPY \S+, line \d+")
_BLOCK = re.compile(r"pg_\w+: |[^\W\d_]{2,} ?: {1,2}\S|Command was: |LINE \d+: ")
_FIELD = re.compile(r"([^\W\d_]{2,}) ?: {1,2}(?=\S)")
_KEPT_FIELDS = ("ERROR", "FATAL", "PANIC", "HINT", "WARNING", "CONTEXT")


def why(error: Exception) -> str:
    """One line: what the server says, and the table and constraint that it names; never a value of a row.

    Of an error that no server sent (a connection that failed): the last line that libpq has.
    """
    diag: Any = getattr(error, "diag", None)
    primary = getattr(diag, "message_primary", None)
    if not primary:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[-1].removeprefix("FATAL:  ")[:MOST] if lines else type(error).__name__
    said = message(error)
    names = [
        f"{what} {name}"
        for what, name in (("table", _table(diag)), ("constraint", diag.constraint_name))
        if name and f'"{name.rpartition(".")[2]}"' not in said
    ]
    return f"{said} ({', '.join(names)})" if names else said


def message(error: Exception) -> str:
    """The message that the server sent, in one line, without the values that it quotes."""
    diag: Any = getattr(error, "diag", None)
    said = getattr(diag, "message_primary", None) or type(error).__name__
    state = diag.sqlstate or "" if diag is not None else ""
    place = context(diag.context) if diag is not None else ""
    if state == "P0001" and "inline_code_block" not in place:
        # RAISE EXCEPTION of a function or trigger: its words may be made of values. Those of a DO block are the
        # words of whoever wrote the statement, for whoever runs it.
        said = "a function of the database raised an error" + (f" ({place})" if place else "")
    elif state.startswith("22"):
        said = _QUOTED.sub("…", said)
    return " ".join(said.split())[:MOST]


def context(text: str | None) -> str:
    """Of CONTEXT the function and its line, or the table and the line of COPY; "" where it is about neither."""
    found = _FUNCTION.search(text or "")
    return found[0].strip() if found else ""


def lines_of(text: str, *, cut: bool = False) -> list[str]:
    """What pg_dump, pg_restore or pg_amcheck printed, without DETAIL and the values that are quoted.

    ``cut``: it is the end of a longer text, so that it may begin within a DETAIL.
    """
    return [line for block in _blocks(text, cut) if (line := _without_values(block))]


def _blocks(text: str, cut: bool) -> Iterator[str]:
    block: list[str] = []
    begun = False
    for line in text.splitlines():
        if _BLOCK.match(line):
            if block:
                yield "\n".join(block)
            block, begun = [line], True
        elif begun:
            block.append(line)
        elif line.strip() and not cut:
            yield line
    if block:
        yield "\n".join(block)


def _without_values(block: str) -> str:
    field = _FIELD.match(block)
    if block.startswith("LINE ") or (field and field[1].isupper() and field[1] not in _KEPT_FIELDS):
        return ""
    if field and field[1] == "CONTEXT":
        place = context(block)
        return f"CONTEXT:  {place}" if place else ""
    if block.startswith("Command was: "):
        return block.splitlines()[0].strip()[:MOST]
    said = _VALUE.sub(r"\1 …", _AT_FAULT.sub("…", block))
    return said.splitlines()[0].strip()[:MOST]


def _table(diag: Any) -> str:
    if not diag.table_name:
        return ""
    return f"{diag.schema_name}.{diag.table_name}" if diag.schema_name else str(diag.table_name)
