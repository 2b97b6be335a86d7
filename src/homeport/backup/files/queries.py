"""The app's own queries of ``[backup.proof]``, put to what was restored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from homeport.database import refused
from homeport.spec.model_backup import ProofQuery

if TYPE_CHECKING:
    from psycopg import Connection

SECONDS = 60
"""That one query may take."""


def wrong(query: ProofQuery, rows: Iterable[tuple[Any, ...]]) -> str | None:
    """What is wrong with an answer; None when it is right. Values of the answer are only shown where one was
    expected: they may be people's."""
    first = next(iter(rows), None)
    if first is None or not first:
        return f"{query.name}: no row came"
    value = first[0]
    if not query.expect:
        return f"{query.name}: the first value is {_text(value)}" if value in (None, False, 0) else None
    if _text(value) != query.expect:
        return f"{query.name}: {_text(value)[:100]} instead of {query.expect[:100]}"
    return None


def _text(value: object) -> str:
    """As psql shows it, but for what is not there."""
    match value:
        case None:
            return "null"
        case bool():
            return "t" if value else "f"
        case _:
            return str(value)


def ask(connection: Connection[Any], queries: Iterable[ProofQuery]) -> tuple[str, ...]:
    """What is wrong with the answers. Each is asked in a read-only transaction of its own, as whoever is logged in."""
    import psycopg

    found = []
    for query in queries:
        try:
            with connection.transaction():
                connection.execute("SET TRANSACTION READ ONLY")
                connection.execute(f"SET LOCAL statement_timeout = '{SECONDS}s'".encode())
                cursor = connection.execute(query.query.encode())
                rows = cursor.fetchmany(1) if cursor.description else []
        except psycopg.Error as e:
            found.append(f"{query.name}: {refused.message(e)[:200]}")
            if connection.closed:
                break
        else:
            problem = wrong(query, rows)
            found += [problem] if problem else []
    return tuple(found)
