"""The shop as a plain ASGI app."""

import asyncio
import hmac
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeGuard
from urllib.parse import parse_qs

from shop import release
from shop.orders import Conflict, Order, Orders, Unavailable, for_web
from shop.page import PRODUCTS, render

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

TICK = 0.2
"""Seconds between two server-sent events."""
LONGEST = 130.0
"""Seconds that ``/slow`` takes at most."""
LARGEST_ORDER = 1_000_000
LONGEST_TEXT = 200
CONNECTIONS = 10
"""To where the products are kept."""


class Shop:
    """``stopping`` is set at SIGTERM: endless answers then end, the others finish."""

    def __init__(self, orders: Orders) -> None:
        self.stopping = False
        self._orders = orders
        self._connections = CONNECTIONS
        name = os.environ.get("HOMEPORT_RELEASE") or f"v{release.VERSION}"
        self._release = name.encode()
        self._currency = os.environ.get("CURRENCY", "EUR")
        self._key = os.environ.get("SIGNING_KEY", "").encode()
        self._page = render(release.VERSION, release.LOOK, name)
        self._products = json.dumps(PRODUCTS).encode()
        self._version = json.dumps({"version": release.VERSION, "release": name, "pid": os.getpid()}).encode()
        self._routes = {
            ("GET", "/"): self._home,
            ("GET", "/health"): self._health,
            ("GET", "/version"): self._show_version,
            ("GET", "/products"): self._list_products,
            ("POST", "/orders"): self._order,
            ("GET", "/orders"): self._show_order,
            ("GET", "/orders/count"): self._count,
            ("GET", "/orders/ids"): self._ids,
            ("GET", "/slow"): self._slow,
            ("GET", "/events"): self._events,
            ("POST", "/upload"): self._upload,
            ("PUT", "/upload"): self._upload,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] == "websocket":
            await self._echo(scope, receive, send)
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        handler = self._routes.get((method, scope["path"]))
        if handler is not None:
            try:
                await handler(scope, receive, send)
            except Unavailable:
                await self._reply(send, b'{"error":"orders cannot be taken just now"}', status=503)
        elif any(path == scope["path"] for _, path in self._routes):
            await self._reply(send, b'{"error":"method not allowed"}', status=405)
        else:
            await self._reply(send, b'{"error":"not found"}', status=404)

    async def _live(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan: from before the first request to after the last."""
        await receive()
        await self._orders.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._orders.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, send: Send, status: int, kind: str, length: int | None) -> None:
        headers = [(b"content-type", kind.encode()), (b"x-release", self._release)]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def _reply(
        self, send: Send, body: bytes, kind: str = "application/json", status: int = 200
    ) -> None:
        await self._start(send, status, kind, len(body))
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, receive: Receive, send: Send, kind: str, parts: AsyncIterator[bytes]) -> None:
        """Send parts as they come; stop when the client is gone."""
        await self._start(send, 200, kind, None)
        gone = asyncio.create_task(_disconnected(receive))
        try:
            async for part in parts:
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()

    async def _home(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._reply(send, self._page, "text/html; charset=utf-8")

    async def _health(self, scope: Scope, receive: Receive, send: Send) -> None:
        if release.BROKEN:
            raise RuntimeError("cannot load the price list: column 'currency' does not exist")
        trouble = self._orders.trouble()
        status = {"status": "ok"} if not trouble else {"status": "degraded", "orders": trouble}
        await self._reply(send, json.dumps(status).encode(), status=200 if self._orders.ready() else 503)

    async def _show_version(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._reply(send, self._version)

    async def _list_products(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._connections:
            await self._reply(send, b'{"error":"no connection is left"}', status=500)
            return
        if release.LEAKY:
            self._connections -= 1
        await self._reply(send, self._products)

    async def _order(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        async for part in _body(receive):
            body += part
            if len(body) > LARGEST_ORDER:
                await self._reply(send, b'{"error":"too large"}', status=413)
                return
        try:
            order = json.loads(body)
        except ValueError:
            order = None
        if not isinstance(order, dict) or not _is_short_text(key := order.get("id")):
            await self._reply(send, b'{"error":"an order is a JSON object with an id"}', status=422)
            return
        items, customer = order.get("items"), order.get("customer")
        count = len(items) if isinstance(items, list) else 0
        try:
            await self._orders.add(Order(key, count, customer if _is_short_text(customer) else None))
        except Conflict:
            await self._reply(send, b'{"error":"there is another order with this id"}', status=409)
            return
        receipt = {"id": key, "items": count, "currency": self._currency}
        if self._key:
            receipt["signature"] = hmac.new(self._key, key.encode(), "sha256").hexdigest()
        await self._reply(send, json.dumps(receipt).encode(), status=201)

    async def _show_order(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``?id=KEY``."""
        key = parse_qs(scope["query_string"].decode("latin-1")).get("id", [""])[0]
        found = await self._orders.get(key)
        if found is None:
            await self._reply(send, b'{"error":"there is no such order"}', status=404)
            return
        await self._reply(send, json.dumps({"id": found.key, "items": found.items}).encode())

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        keys = await self._orders.keys()
        await self._reply(send, json.dumps({"orders": len(keys), "distinct": len(set(keys))}).encode())

    async def _ids(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._reply(send, json.dumps(await self._orders.keys()).encode())

    async def _slow(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``?seconds=3`` waits, then answers; ``&stream=1`` sends a line each tenth of a second meanwhile."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        try:
            seconds = min(max(float(query.get("seconds", ["1"])[0]), 0.0), LONGEST)
        except ValueError:
            await self._reply(send, b'{"error":"seconds is a number"}', status=422)
            return
        if "stream" in query:
            await self._stream(receive, send, "text/plain", _lines(seconds))
            return
        await asyncio.sleep(seconds)
        await self._reply(send, json.dumps({"waited": seconds}).encode())

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        last = dict(scope["headers"]).get(b"last-event-id", b"0")
        await self._stream(
            receive, send, "text/event-stream", self._ticks(int(last) if last.isdigit() else 0)
        )

    async def _ticks(self, last: int) -> AsyncIterator[bytes]:
        while not self.stopping:
            last += 1
            yield b"id: %d\ndata: tick %d of %b\n\n" % (last, last, self._release)
            await asyncio.sleep(TICK)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0
        async for part in _body(receive):
            received += len(part)
        await self._reply(send, json.dumps({"bytes": received}).encode())

    async def _echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] != "/ws":
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "websocket.accept", "headers": [(b"x-release", self._release)]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


class Disconnected(Exception):
    """The client went away in the middle of its request."""


def _is_short_text(value: object) -> TypeGuard[str]:
    """What a column of text with an index takes."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and "\0" not in value and _is_utf8(value)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lines(seconds: float) -> AsyncIterator[bytes]:
    for n in range(round(seconds * 10)):
        yield b"%d\n" % n
        await asyncio.sleep(0.1)


def create() -> Shop:
    return Shop(for_web())
