"""Orders in PostgreSQL, for the worker and the report."""

from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Identifier

from shop import release
from shop.orders import Report

AT_ONCE = 500
PACK: LiteralString = """
UPDATE orders SET packed_at = now() WHERE id IN (
    SELECT id FROM orders WHERE packed_at IS NULL ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
"""
REPORT = SQL("SELECT count(*), coalesce(sum({items}), 0), count(packed_at) FROM orders").format(
    items=Identifier(release.ITEMS)
)


class DatabasePacking:
    def __init__(self, url: str) -> None:
        self._url = url
        self._open: psycopg.Connection[tuple[Any, ...]] | None = None

    def _connection(self) -> "psycopg.Connection[tuple[Any, ...]]":
        if self._open is None or self._open.closed:
            self._open = psycopg.connect(
                self._url, autocommit=True, prepare_threshold=None, connect_timeout=5
            )
        return self._open

    def pack(self) -> int:
        """While the database or its table is away there is nothing to pack: it is tried again with the next round."""
        packed = 0
        try:
            while count := self._connection().execute(PACK, {"most": AT_ONCE}).rowcount:
                packed += count
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable) as e:
            print(f"orders cannot be reached; trying again: {e}", flush=True)
            self.close()
        return packed

    def report(self) -> Report:
        row = self._connection().execute(REPORT).fetchone()
        assert row is not None
        return Report(*(int(figure) for figure in row))

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
