"""Orders in PostgreSQL, for the web process.

Behind a pooler of transactions two statements in a row may meet two connections of the server: each piece of
work is one statement, nothing is prepared, and no session's setting is relied on.
"""

import asyncio
import sys
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from psycopg_pool import AsyncConnectionPool

from shop import release
from shop.orders import Conflict, Order, Unavailable

CONNECTIONS = 4
"""Of one instance, at most."""
PATIENCE = 10.0
"""Seconds for which an order is tried again when the database goes away under it."""
PAUSE = 0.1
LOOK_EVERY = 1.0
LOOK_TIMEOUT = 2.0
RECONNECT = 1.0
"""Seconds after which the pool gives up a connection that it cannot make; whoever asks next begins anew."""

NAMES = {"items": Identifier(release.ITEMS)}
ADD = SQL(
    """
    WITH customer AS (
        INSERT INTO customers (email) SELECT %(customer)s::text WHERE %(customer)s::text IS NOT NULL
        ON CONFLICT (email) DO UPDATE SET email = excluded.email
        RETURNING id
    )
    INSERT INTO orders (key, {items}, customer_id)
    VALUES (%(key)s, %(items)s, (SELECT id FROM customer))
    ON CONFLICT (key) DO UPDATE SET sent = orders.sent + %(times)s WHERE orders.{items} = excluded.{items}
    RETURNING id
    """
).format(**NAMES)
GET = SQL(
    "SELECT o.key, o.{items}, c.email FROM orders o LEFT JOIN customers c ON c.id = o.customer_id "
    "WHERE o.key = %(key)s"
).format(**NAMES)
KEYS = SQL("SELECT key FROM orders, generate_series(1, sent) ORDER BY orders.id").format()
LOOK = SQL(
    "SELECT o.key, o.{items}, o.sent, o.packed_at, c.email FROM orders o, customers c WHERE o.id = 0 AND c.id = 0"
).format(**NAMES)
"""What this release needs to be there: without its migrations it never becomes ready."""


class DatabaseOrders:
    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._ready = False
        self._trouble = "the database has not answered yet"
        self._watch: asyncio.Task[None] | None = None
        self._pool = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=CONNECTIONS,
            open=False,
            timeout=patience,
            reconnect_timeout=RECONNECT,
            kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": 5},
        )

    async def open(self) -> None:
        """Does not wait for the database."""
        await self._pool.open(wait=False)
        self._watch = asyncio.create_task(self._look_again_and_again())

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        await self._pool.close(timeout=2)

    def ready(self) -> bool:
        return self._ready

    def trouble(self) -> str:
        return self._trouble

    async def add(self, order: Order) -> None:
        """A request counts once in ``sent``, however often it had to be tried."""
        words = {"key": order.key, "items": order.items, "customer": order.customer, "times": 1}
        if not await self._ask(ADD, words, again={"times": 0}):
            raise Conflict

    async def get(self, key: str) -> Order | None:
        found = await self._ask(GET, {"key": key})
        return Order(*found[0]) if found else None

    async def keys(self) -> list[str]:
        return [key for (key,) in await self._ask(KEYS, {})]

    async def _ask(
        self, statement: Composed, words: dict[str, Any], *, again: dict[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """``again``: what is different when the statement may have been carried out before."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            try:
                async with self._pool.connection(timeout=max(0.1, deadline - loop.time())) as connection:
                    cursor = await connection.execute(statement, words)
                    return await cursor.fetchall()
            except psycopg.OperationalError as e:
                if loop.time() + PAUSE >= deadline:
                    raise Unavailable from e
                words |= again or {}
            except psycopg.errors.UndefinedTable as e:
                raise Unavailable from e
            await asyncio.sleep(PAUSE)

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_TIMEOUT):
                    async with self._pool.connection() as connection:
                        await connection.execute(LOOK)
                self._ready = True
                self._tell("")
            except TimeoutError:
                self._tell(f"the database does not answer within {LOOK_TIMEOUT:g} s")
            except psycopg.OperationalError:
                self._tell("the database cannot be reached")
            except psycopg.Error as e:
                self._tell(f"the database is not as this release needs it: {e.diag.message_primary}")
            await asyncio.sleep(LOOK_EVERY)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            print(trouble or "the database answers", file=sys.stderr, flush=True)
        self._trouble = trouble
